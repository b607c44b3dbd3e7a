/**
 * What a daemon is to the entry point, and what it is given.
 * @module
 */
import { hostname, userInfo } from "node:os";
import { EXIT, messageOf } from "./common/errors.ts";
import { InvariantError } from "./common/invariant.ts";
import { CommonKeys } from "./conf/common_keys.ts";
import type { Configuration } from "./conf/configuration.ts";
import type { LiveConfiguration } from "./conf/live.ts";
import { OsGroupMapping } from "./master/groups.ts";
import type { ImpersonationRule } from "./rpc/sasl.ts";
import type { LevelControl } from "./telemetry/logger.ts";
import type { Telemetry } from "./telemetry/telemetry.ts";
import { loopbackProblem, visibleAddress } from "./world/addresses.ts";
import type { Clock, World } from "./world/ports.ts";

export type DaemonContext = {
  /** As it was at the start. */
  readonly configuration: Configuration;
  /** The same with what was changed since: for values that are asked for each time. */
  readonly live: LiveConfiguration;
  readonly telemetry: Telemetry;
  readonly levels: LevelControl;
  readonly world: World;
  /** Logs and ends the process. */
  readonly fatal: (
    exitCode: number,
    message: string,
    detail: Readonly<Record<string, unknown>>,
  ) => void;
  /** Where the bundles lie: dist/. */
  readonly scriptFolder: URL;
};

export interface Daemon {
  /** Resolves when all ports are open, with facts for the log. @throws RockpoolError when it cannot be */
  start(): Promise<Readonly<Record<string, unknown>>>;
  /** Ends in order: hands over, lets calls finish, closes. Also before `start` has resolved. */
  stop(): Promise<void>;
}

/** A start that failed in a part that knows the exit code for it. */
export class StartFailure extends Error {
  override readonly name = "StartFailure";
  readonly exitCode: number;

  constructor(exitCode: number, cause: unknown) {
    super(messageOf(cause), { cause });
    this.exitCode = exitCode;
  }
}

/** The user that runs this process: the superuser of the cluster. */
export function processUser(configuration: Configuration): string {
  return configuration.get(CommonKeys.loginUsername) ?? userInfo().username;
}

/** The name under which others reach this machine when the configuration names none. */
export function machineName(configuration: Configuration): string {
  const address = configuration.get(CommonKeys.ipAddressUsed) ? visibleAddress() : null;
  return address ?? hostname();
}

/** Who is in which group, as the operating system says or as the configuration would have it. */
export function groupMapping(configuration: Configuration, clock: Clock): OsGroupMapping {
  const isIdentity = configuration.get(CommonKeys.groupMapping) === "IdentityUserGroupsMapping";
  return isIdentity ? new OsGroupMapping(clock, async (user) => [user]) : new OsGroupMapping(clock);
}

/** Says when others cannot reach this process by the name that it gives itself. */
export async function warnOfLoopback(
  { telemetry }: Pick<DaemonContext, "telemetry">,
  own: string,
  peers: readonly string[],
  key: string,
): Promise<void> {
  const problem = await loopbackProblem(own, peers);
  if (problem !== null)
    telemetry.logger.log("warn", "conf", problem, {
      remedy: `Set ${key} to a name or address that they see`,
    });
}

/** Who may act for whom: `alluxio.master.security.impersonation.<user>.users` and `.groups`. */
export function impersonationRules(
  configuration: Configuration,
): ReadonlyMap<string, ImpersonationRule> {
  const rules = new Map<string, { users: readonly string[]; groups: readonly string[] }>();
  for (const [name, text] of configuration.withPrefix("alluxio.master.security.impersonation.")) {
    const dot = name.lastIndexOf(".");
    const user = name.slice(0, dot);
    const what = name.slice(dot + 1);
    if (what !== "users" && what !== "groups") continue;
    const names = text
      .split(",")
      .map((part) => part.trim())
      .filter((part) => part !== "");
    rules.set(user, { users: [], groups: [], ...rules.get(user), [what]: names });
  }
  return rules;
}

/** A login unused for three days is ended: `alluxio.security.stale.channel.purge.interval`. */
export const LOGIN_STALE_MS = 3 * 24 * 3_600_000;

/** A handler met what cannot be: the process goes no further. */
export function endOnBug(
  context: DaemonContext,
  event: { readonly kind: string; readonly error?: unknown },
): void {
  if (event.error instanceof InvariantError)
    context.fatal(EXIT.invariant, "a handler failed", { error: event.error });
}
