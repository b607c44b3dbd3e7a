/**
 * Where the events of all parts go: a log line and a counter each.
 *
 * Every part exports a union of events with a `kind`; nothing here knows their members, so a new kind is
 * logged without a change. Kinds that come often are logged at `debug`, those that somebody has to see at `warn`.
 * @module
 */
import type { Level, LevelControl, Logger } from "./logger.ts";
import type { Metrics } from "./metrics.ts";

export type PartEvent = { readonly kind: string };

/** A kind that says of itself that something is wrong; parts name their events so. */
const TROUBLE =
  /fail|error|lost|refus|reject|corrupt|damag|quarantin|dropp|slow|unreach|timedOut|invalid/i;

export function levelOf(kind: string): Level {
  return TROUBLE.test(kind) ? "warn" : "info";
}

export interface Telemetry {
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** A listener for the events of one part. @param levels overrides the level of a kind */
  listen<E extends PartEvent>(
    part: string,
    levels?: Readonly<Partial<Record<E["kind"], Level>>>,
  ): (event: E) => void;
}

/** @param control learns of every part that may log */
export function createTelemetry(
  logger: Logger,
  metrics: Metrics,
  control?: LevelControl,
): Telemetry {
  return {
    logger,
    metrics,
    listen<E extends PartEvent>(
      part: string,
      levels?: Readonly<Partial<Record<E["kind"], Level>>>,
    ) {
      control?.register(part);
      const byKind: Readonly<Partial<Record<string, Level>>> = levels ?? {};
      return (event: E) => {
        const { kind, ...fields } = event;
        metrics.countEvent(part, kind);
        logger.log(byKind[kind] ?? levelOf(kind), part, kind, fields);
      };
    },
  };
}
