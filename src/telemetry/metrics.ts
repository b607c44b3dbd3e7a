/**
 * Metrics under the names that Alluxio's dashboards use, in Prometheus' text form and in Dropwizard's JSON form.
 *
 * Alluxio writes `Master.TotalPaths` and serves it to Prometheus as `Master_TotalPaths`. Values are read when
 * somebody scrapes, so nothing is counted twice and nothing costs while nobody looks.
 * @module
 */
import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";
import { Rates, statisticsOf, Timer, type TimerReading } from "./timer.ts";

type Named = {
  /** As Alluxio writes it, with a dot. */
  readonly name: string;
  readonly help: string;
};

/** A value that the process knows. No `read` may throw. */
export type Reading = Named &
  (
    | {
        /** A counter never goes down while the process runs. */
        readonly kind: "gauge" | "counter";
        readonly read: () => number;
      }
    | { readonly kind: "timer"; readonly read: () => TimerReading }
    /** Prometheus has no texts: only the JSON form and `GetMetrics` show it. */
    | { readonly kind: "text"; readonly read: () => string }
  );

/** Dropwizard's JSON form, which Alluxio serves at /metrics/json/. */
export type MetricsJson = {
  readonly version: string;
  readonly gauges: Readonly<Record<string, { readonly value: number | string }>>;
  readonly counters: Readonly<Record<string, { readonly count: number }>>;
  readonly histograms: Readonly<Record<string, never>>;
  readonly meters: Readonly<Record<string, never>>;
  readonly timers: Readonly<Record<string, Readonly<Record<string, number | string>>>>;
};

export interface Metrics {
  /** Serves a value, read at each scrape. */
  serve(reading: Reading): void;
  /** Counts an event of a part; served as Rockpool_Events{part,kind}. */
  countEvent(part: string, kind: string): void;
  /** How often that was called for a kind. */
  eventCount(part: string, kind: string): number;
  /** Counts a call; served as Rockpool_Calls{method,status} and Rockpool_CallSeconds{method}. */
  countCall(path: string, status: number, tookMs: number): void;
  /** Calls of a method that ended well. */
  callCount(method: string): number;
  /** Calls of a method that ended, in whatever way. */
  callTotal(method: string): number;
  /** Of all calls that do not live as long as a connection. */
  callTimes(): TimerReading;
  /** The text of a scrape, and its content type. */
  scrape(): Promise<{ readonly text: string; readonly contentType: string }>;
  json(): MetricsJson;
}

/** Streams that live as long as a connection: how long that is says nothing of the time a call takes. */
const CONNECTION_LONG: ReadonlySet<string> = new Set(["authenticate"]);

type Calls = { readonly byStatus: Map<number, number>; seconds: number };

/** Sums by method; plain numbers, since every call passes here. */
class CallCounts {
  readonly #calls = new Map<string, Calls>();
  readonly times = new Timer();

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
    if (CONNECTION_LONG.has(method)) return;
    calls.seconds += tookMs / 1000;
    this.times.record(tookMs);
  }

  count(method: string): number {
    return this.#calls.get(method)?.byStatus.get(0) ?? 0;
  }

  total(method: string): number {
    let total = 0;
    for (const count of this.#calls.get(method)?.byStatus.values() ?? []) total += count;
    return total;
  }
}

const prometheusName = (name: string) => name.replace(/[^A-Za-z0-9_:]/g, "_");

function serveNumber(
  registry: Registry,
  { name, help, kind, read }: Extract<Reading, { kind: "gauge" | "counter" }>,
): void {
  const common = { name: prometheusName(name), help, registers: [registry] };
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

type TimerEntry = Extract<Reading, { kind: "timer" }> & { readonly rates: Rates };

/** A summary whose quantiles are those of the newest durations; prom-client has none that is read. */
function timerText({ name, help, read }: TimerEntry): string {
  const { count, samplesMs } = read();
  const statistics = statisticsOf(samplesMs);
  const { p50, p75, p95, p98, p99, p999 } = statistics;
  const shares = { 0.5: p50, 0.75: p75, 0.95: p95, 0.98: p98, 0.99: p99, 0.999: p999 };
  const metric = prometheusName(name);
  const quantiles = Object.entries(shares).map(
    ([share, value]) => `${metric}{quantile="${share}"} ${value}`,
  );
  return [
    `# HELP ${metric} ${help}, in seconds`,
    `# TYPE ${metric} summary`,
    ...quantiles,
    `${metric}_count ${count}`,
    "",
  ].join("\n");
}

function timerJson(
  { read, rates }: TimerEntry,
  nowMs: number,
): Readonly<Record<string, number | string>> {
  const { count, samplesMs } = read();
  const { mean, m1, m5, m15 } = rates.read(count, nowMs);
  return {
    count,
    ...statisticsOf(samplesMs),
    m1_rate: m1,
    m5_rate: m5,
    m15_rate: m15,
    mean_rate: mean,
    duration_units: "seconds",
    rate_units: "calls/second",
  };
}

class RegistryMetrics implements Metrics {
  readonly #registry = new Registry();
  readonly #nowMs: () => number;
  readonly #calls: CallCounts;
  readonly #events: Counter<"part" | "kind">;
  readonly #eventCounts = new Map<string, number>();
  readonly #numbers: Extract<Reading, { kind: "gauge" | "counter" }>[] = [];
  readonly #texts: Extract<Reading, { kind: "text" }>[] = [];
  readonly #timers: TimerEntry[] = [];

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry });
    this.#calls = new CallCounts(registers);
    this.#events = new Counter({
      name: "Rockpool_Events",
      help: "Events of the parts of this process",
      labelNames: ["part", "kind"],
      registers,
    });
  }

  serve(reading: Reading): void {
    if (reading.kind === "timer")
      this.#timers.push({ ...reading, rates: new Rates(this.#nowMs()) });
    else if (reading.kind === "text") this.#texts.push(reading);
    else {
      this.#numbers.push(reading);
      serveNumber(this.#registry, reading);
    }
  }

  countEvent(part: string, kind: string): void {
    this.#events.inc({ part, kind });
    const key = `${part} ${kind}`;
    this.#eventCounts.set(key, (this.#eventCounts.get(key) ?? 0) + 1);
  }

  eventCount(part: string, kind: string): number {
    return this.#eventCounts.get(`${part} ${kind}`) ?? 0;
  }

  countCall(path: string, status: number, tookMs: number): void {
    this.#calls.record(path, status, tookMs);
  }

  callCount(method: string): number {
    return this.#calls.count(method);
  }

  callTotal(method: string): number {
    return this.#calls.total(method);
  }

  callTimes(): TimerReading {
    return this.#calls.times.read();
  }

  async scrape() {
    const text = await this.#registry.metrics();
    return {
      text: `${text}\n${this.#timers.map(timerText).join("\n")}`,
      contentType: this.#registry.contentType,
    };
  }

  json(): MetricsJson {
    const nowMs = this.#nowMs();
    const ofKind = (kind: "gauge" | "counter") =>
      this.#numbers.filter((reading) => reading.kind === kind);
    return {
      version: "4.0.0",
      gauges: Object.fromEntries(
        [...ofKind("gauge"), ...this.#texts].map(({ name, read }) => [name, { value: read() }]),
      ),
      counters: Object.fromEntries(
        ofKind("counter").map(({ name, read }) => [name, { count: read() }]),
      ),
      histograms: {},
      meters: {},
      timers: Object.fromEntries(
        this.#timers.map((timer) => [timer.name, timerJson(timer, nowMs)]),
      ),
    };
  }
}

/** @param nowMs a clock that never goes back */
export function createMetrics(nowMs: () => number = () => performance.now()): Metrics {
  return new RegistryMetrics(nowMs);
}
