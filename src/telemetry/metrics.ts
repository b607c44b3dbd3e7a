/**
 * Metrics in Prometheus' text form, under the names that Alluxio's dashboards use.
 *
 * Alluxio writes `Master.TotalPaths` and serves it as `Master_TotalPaths`. Values are read when
 * somebody scrapes, so nothing is counted twice and nothing costs while nobody looks.
 * @module
 */
import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";

export interface Metrics {
  /** Registers a value that is read at each scrape. `read` must not throw. */
  gauge(name: string, help: string, read: () => number): void;
  /** Counts an event of a part; served as Rockpool_Events{part,kind}. */
  countEvent(part: string, kind: string): void;
  /** The text of a scrape, and its content type. */
  scrape(): Promise<{ readonly text: string; readonly contentType: string }>;
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
  return {
    gauge(name, help, read) {
      const gauge: Gauge = new Gauge({
        name: name.replace(/[^A-Za-z0-9_:]/g, "_"),
        help,
        registers: [registry],
        collect: () => gauge.set(read()),
      });
    },
    countEvent: (part, kind) => events.inc({ part, kind }),
    scrape: async () => ({ text: await registry.metrics(), contentType: registry.contentType }),
  };
}
