/**
 * What is known of the process behind the page, asked for again and again; and, when it does not answer any more, who
 * leads now.
 * @module
 */
import { useEffect, useState } from "preact/hooks";
import type { MetricsJson } from "../telemetry/metrics.ts";
import type { Leader, StatusDocument } from "../web/api_types.ts";
import { ask, findLeader, masterWebs } from "./api.ts";

/** Ten minutes at the usual pace. */
const HISTORY_MAX = 300;
const FIRST_REFRESH_MS = 1_000;
/** A page stays for so long with a master that is gone: long enough to read why it moves. */
const MOVE_AFTER_MS = 1_000;
/** A blink of the network is no failure. */
const FAILURES_BEFORE_SEARCH = 1;

export type Sample = {
  readonly atMs: number;
  readonly values: Readonly<Record<string, number>>;
};

export type Live = {
  /** The last that was heard; null before the first. */
  readonly status: StatusDocument | null;
  readonly metrics: MetricsJson | null;
  readonly history: readonly Sample[];
  /** Null while it answers. */
  readonly silentSinceMs: number | null;
  /** Who leads, by the others, while this one is silent. */
  readonly nextLeader: Leader | null;
};

const EMPTY: Live = {
  status: null,
  metrics: null,
  history: [],
  silentSinceMs: null,
  nextLeader: null,
};

function sampleOf(metrics: MetricsJson): Sample {
  const values: Record<string, number> = {};
  for (const [name, { value }] of Object.entries(metrics.gauges))
    if (typeof value === "number") values[name] = value;
  for (const [name, { count }] of Object.entries(metrics.counters)) values[name] = count;
  for (const [name, timer] of Object.entries(metrics.timers)) {
    values[`${name}.count`] = Number(timer["count"]);
    values[`${name}.p50`] = Number(timer["p50"]);
    values[`${name}.p99`] = Number(timer["p99"]);
  }
  return { atMs: Date.now(), values };
}

class Store {
  #live = EMPTY;
  #failures = 0;
  readonly #listeners = new Set<(live: Live) => void>();

  get live(): Live {
    return this.#live;
  }

  start(): void {
    void this.#loop();
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) void this.refresh();
    });
  }

  subscribe(listener: (live: Live) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async refresh(): Promise<void> {
    try {
      const [status, metrics] = await Promise.all([
        ask<StatusDocument>("/api/v1/rockpool/status"),
        ask<MetricsJson>("/metrics/json/"),
      ]);
      this.#failures = 0;
      const history = [...this.#live.history, sampleOf(metrics)].slice(-HISTORY_MAX);
      this.#set({ status, metrics, history, silentSinceMs: null, nextLeader: null });
    } catch {
      this.#failures += 1;
      await this.#onSilence();
    }
  }

  async #loop(): Promise<void> {
    for (;;) {
      if (!document.hidden || this.#live.status === null) await this.refresh();
      const { status, silentSinceMs } = this.#live;
      const paceMs =
        silentSinceMs === null ? (status?.settings.refreshMs ?? FIRST_REFRESH_MS) : 500;
      await new Promise((resolve) => setTimeout(resolve, paceMs));
    }
  }

  async #onSilence(): Promise<void> {
    const { status, silentSinceMs } = this.#live;
    const sinceMs = silentSinceMs ?? Date.now();
    this.#set({ ...this.#live, silentSinceMs: sinceMs });
    if (status === null || this.#failures < FAILURES_BEFORE_SEARCH) return;
    const others = masterWebs(status).filter((web) => web !== location.host);
    const nextLeader = await findLeader(others);
    this.#set({ ...this.#live, nextLeader });
    const isDue = Date.now() - sinceMs >= MOVE_AFTER_MS;
    if (nextLeader !== null && isDue && status.kind === "master") moveTo(nextLeader.web);
  }

  #set(live: Live): void {
    this.#live = live;
    for (const listener of this.#listeners) listener(live);
  }
}

/** The same page of another process. */
export function addressAt(web: string): string {
  const theme = document.documentElement.dataset["theme"] ?? "auto";
  return `http://${web}/${theme === "auto" ? "" : `?theme=${theme}`}${location.hash}`;
}

function moveTo(web: string): void {
  location.assign(addressAt(web));
}

export const store = new Store();

export function useLive(): Live {
  const [live, setLive] = useState(store.live);
  useEffect(() => store.subscribe(setLive), []);
  return live;
}
