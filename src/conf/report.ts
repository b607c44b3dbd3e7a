/**
 * A process's configuration as it reports it to others: every property with its source, and where it was written.
 *
 * Pure.
 * @module
 */
import type { Configuration } from "./configuration.ts";

export type ReportEntry = {
  readonly name: string;
  readonly source: string;
  /** Absent: unset. Secrets are masked. */
  readonly value?: string;
};

/** In order of the names. */
export function reportOf(configuration: Configuration): readonly ReportEntry[] {
  return configuration.entries().map(({ key, value, source, origin }) => ({
    name: key,
    source: origin === "" || source === "DEFAULT" ? source : `${source} (${origin})`,
    ...(value === null ? {} : { value }),
  }));
}
