/**
 * What the services need of a master's configuration.
 * @module
 */
import type { Path } from "../common/path.ts";
import type { ConfigProperty } from "../proto/gen/common.ts";
import type { Principal } from "./api.ts";
import type { ConfigReports } from "./config_reports.ts";

export type PathProperty = { readonly name: string; readonly value: string };

export interface ConfigurationPort {
  /** "host:rpcPort" of this master. */
  readonly address: string;
  readonly reports: ConfigReports;
  /** What clients take as their defaults, by property name: the same on all masters that are configured alike. */
  clusterDefaults(): ReadonlyMap<string, string>;
  /** Every property of this master, with its source; secrets are masked. */
  entries(): readonly ConfigProperty[];
  /** What clients take as their defaults below a path. */
  pathDefaults(): ReadonlyMap<string, readonly PathProperty[]>;
  /** @throws RockpoolError INVALID_ARGUMENT when a property cannot be set for a path, or its value is none */
  setPathDefaults(who: Principal, path: Path, properties: readonly PathProperty[]): Promise<void>;
  /** Takes away properties of a path, all of them when none is named. */
  removePathDefaults(who: Principal, path: Path, names: readonly string[]): Promise<void>;
  /** Changes this master while it runs. @returns for each name why it was not changed; null when it was */
  update(properties: ReadonlyMap<string, string>, user: string): ReadonlyMap<string, string | null>;
}
