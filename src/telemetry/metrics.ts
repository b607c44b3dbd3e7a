/**
 * Metrics in Prometheus' text form, under the names that Alluxio's dashboards use.
 *
 * Alluxio writes `Master.TotalPaths` and serves it as `Master_TotalPaths`. Values are read when
 * somebody scrapes, so nothing is counted twice and nothing costs while nobody looks.
 * @module
 */
import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";

/** A value that the process knows. */
export type Reading = {
  /** As Alluxio writes it, with a dot. */
  readonly name: string;
  readonly help: string;
  /** A counter never goes down while the process runs. */
  readonly kind: "gauge" | "counter";
  /** Must not throw. */
  readonly read: () => number;
};

export interface Metrics {
  /** Serves a value, read at each scrape. */
  serve(reading: Reading): void;
  /** Counts an event of a part; served as Rockpool_Events{part,kind}. */
  countEvent(part: string, kind: string): void;
  /** Counts a call; served as Rockpool_Calls{method,status} and Rockpool_CallSeconds{method}. */
  countCall(path: string, status: number, tookMs: number): void;
  /** Calls of a method that ended well. */
  callCount(method: string): number;
  /** The text of a scrape, and its content type. */
  scrape(): Promise<{ readonly text: string; readonly contentType: string }>;
}

/** Streams that live as long as a connection: how long that is says nothing of the time a call takes. */
const CONNECTION_LONG: ReadonlySet<string> = new Set(["authenticate"]);

type Calls = { readonly byStatus: Map<number, number>; seconds: number };

/** Sums by method; plain numbers, since every call passes here. */
class CallCounts {
  readonly #calls = new Map<string, Calls>();

  constructor(registers: Registry[]) {
    const calls = new Counter({
      name: "Rockpool_Calls",
      help: "Calls that ended, by gRPC status number",
      labelNames: ["method", "status"],
      registers,
      collect: () => {
        calls.reset();
        for (const [method, { byStatus }] of this.#calls)
          for (const [status, count] of byStatus)
            calls.inc({ method, status: String(status) }, count);
      },
    }) as Counter<"method" | "status">; // says what the literal says; breaks the circle of inference
    const seconds = new Counter({
      name: "Rockpool_CallSeconds",
      help: "Time that calls took in all",
      labelNames: ["method"],
      registers,
      collect: () => {
        seconds.reset();
        for (const [method, call] of this.#calls)
          if (!CONNECTION_LONG.has(method)) seconds.inc({ method }, call.seconds);
      },
    }) as Counter<"method">; // as above
  }

  /** @param path "/package.Service/Method" */
  record(path: string, status: number, tookMs: number): void {
    const method = path.slice(path.lastIndexOf("/") + 1);
    let calls = this.#calls.get(method);
    if (calls === undefined) {
      calls = { byStatus: new Map(), seconds: 0 };
      this.#calls.set(method, calls);
    }
    calls.byStatus.set(status, (calls.byStatus.get(status) ?? 0) + 1);
    if (!CONNECTION_LONG.has(method)) calls.seconds += tookMs / 1000;
  }

  count(method: string): number {
    return this.#calls.get(method)?.byStatus.get(0) ?? 0;
  }
}

function serve(registry: Registry, { name, help, kind, read }: Reading): void {
  const common = { name: name.replace(/[^A-Za-z0-9_:]/g, "_"), help, registers: [registry] };
  if (kind === "gauge") {
    const gauge: Gauge = new Gauge({ ...common, collect: () => gauge.set(read()) });
  } else {
    const counter: Counter = new Counter({
      ...common,
      collect: () => {
        counter.reset();
        counter.inc(read());
      },
    });
  }
}

export function createMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const events = new Counter({
    name: "Rockpool_Events",
    help: "Events of the parts of this process",
    labelNames: ["part", "kind"],
    registers: [registry],
  });
  const calls = new CallCounts([registry]);
  return {
    serve: (reading) => serve(registry, reading),
    countEvent: (part, kind) => events.inc({ part, kind }),
    countCall: (path, status, tookMs) => calls.record(path, status, tookMs),
    callCount: (method) => calls.count(method),
    scrape: async () => ({ text: await registry.metrics(), contentType: registry.contentType }),
  };
}
