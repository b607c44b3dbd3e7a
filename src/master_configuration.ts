/**
 * A master's configuration, joined: what it was started with, changes at run time, defaults of paths in the journaled state,
 * and the reports of the other processes.
 * @module
 */
import { RockpoolError } from "./common/errors.ts";
import type { Path } from "./common/path.ts";
import { masterRpcAddresses } from "./conf/cluster.ts";
import { CommonKeys } from "./conf/common_keys.ts";
import { clusterDefaultsOf, isHandedToClients } from "./conf/dynamic_keys.ts";
import { formatHostPort, type HostPort } from "./conf/key_spec.ts";
import { isKnownName, keyOf, nearestName } from "./conf/keys.ts";
import type { LiveConfiguration } from "./conf/live.ts";
import { MasterKeys } from "./conf/master_keys.ts";
import { reportOf } from "./conf/report.ts";
import { type DaemonContext, machineName, processUser } from "./daemon.ts";
import type { JournalSystem } from "./journal/journal_system.ts";
import type { Principal } from "./master/api.ts";
import type { ApplyResult } from "./master/apply.ts";
import { ConfigReports } from "./master/config_reports.ts";
import type { ConfigurationPort, PathProperty } from "./master/configuration_port.ts";
import { Proposer } from "./master/proposer.ts";
import { StandbyReporter } from "./master/standby_reporter.ts";
import type { MasterState } from "./master/state_machine.ts";
import { masterInquiry } from "./zookeeper_masters.ts";

/** @throws RockpoolError INVALID_ARGUMENT when clients would not, or could not, take it */
function checkPathProperty({ name, value }: PathProperty): void {
  const refuse = (text: string, remedy: string) =>
    new RockpoolError("INVALID_ARGUMENT", text, remedy);
  if (!isKnownName(name)) {
    const nearest = nearestName(name);
    const hint = nearest === null ? "" : `: did you mean ${nearest}?`;
    throw refuse(`Nobody knows the property ${name}${hint}`, "`conf get` lists all");
  }
  const key = keyOf(name)?.key ?? name;
  if (!isHandedToClients(key) || !key.startsWith("alluxio.user."))
    throw refuse(
      `${name} cannot be set for a path: only properties that begin with alluxio.user. can`,
      "Set it in the site file",
    );
  const type = keyOf(name)?.type;
  if (type !== undefined && type.parse(value.trim()) === null)
    throw refuse(`"${value}" is no value of ${name}: give ${type.expected}`, "");
}

export type MasterConfigurationParts = {
  readonly context: DaemonContext;
  readonly state: MasterState;
  readonly journal: JournalSystem<ApplyResult>;
  readonly isServing: () => boolean;
};

export class MasterConfiguration implements ConfigurationPort {
  readonly address: string;
  readonly reports: ConfigReports;
  readonly #live: LiveConfiguration;
  readonly #context: DaemonContext;
  readonly #state: MasterState;
  readonly #proposer: Proposer;
  readonly #standby: StandbyReporter;

  constructor({ context, state, journal, isServing }: MasterConfigurationParts) {
    const { live, configuration, world } = context;
    const own: HostPort = {
      host: configuration.get(MasterKeys.hostname) ?? machineName(configuration),
      port: configuration.get(MasterKeys.rpcPort),
    };
    this.#context = context;
    this.#live = live;
    this.#state = state;
    this.address = formatHostPort(own);
    this.#proposer = new Proposer(journal, state, world.clock);
    this.reports = new ConfigReports(world.clock, () => live.get(MasterKeys.standbyTimeout));
    const isSimple = configuration.get(CommonKeys.authenticationType) === "SIMPLE";
    const user = processUser(configuration);
    this.#standby = new StandbyReporter({
      masters: masterRpcAddresses(configuration),
      inquire: masterInquiry(configuration, world),
      auth: isSimple ? { kind: "simple", user } : { kind: "none" },
      address: own,
      configuration: this,
      startedMs: world.clock.wallMs(),
      version: configuration.get(CommonKeys.version),
      intervalMs: () => live.get(MasterKeys.standbyHeartbeatInterval),
      isServing,
      timers: world.timers,
    });
    live.onChange(() => this.#standby.changed());
  }

  start(): void {
    this.#standby.start();
  }

  close(): void {
    this.#standby.close();
  }

  clusterDefaults(): ReadonlyMap<string, string> {
    return clusterDefaultsOf(this.#live.current);
  }

  entries() {
    return reportOf(this.#live.current);
  }

  pathDefaults(): ReadonlyMap<string, readonly PathProperty[]> {
    return this.#state.view.pathConfigurations();
  }

  async setPathDefaults(
    who: Principal,
    path: Path,
    properties: readonly PathProperty[],
  ): Promise<void> {
    if (properties.length === 0)
      throw new RockpoolError(
        "INVALID_ARGUMENT",
        "No property is given",
        "Give --property key=value",
      );
    for (const property of properties) checkPathProperty(property);
    const byKey = properties.map(({ name, value }) => ({ name: keyOf(name)?.key ?? name, value }));
    await this.#proposer.propose(who, { kind: "setPathConfiguration", path, properties: byKey });
  }

  async removePathDefaults(who: Principal, path: Path, names: readonly string[]): Promise<void> {
    const known = this.pathDefaults().get(path);
    const keys = names.map((name) => keyOf(name)?.key ?? name);
    const missing = keys.filter((key) => known?.every(({ name }) => name !== key) ?? true);
    if (known === undefined || missing.length > 0)
      throw new RockpoolError(
        "NOT_FOUND",
        known === undefined
          ? `${path} has no properties of its own`
          : `${missing.join(", ")} is not set for ${path}`,
        "See `fsadmin pathConf list` and `fsadmin pathConf show`",
      );
    await this.#proposer.propose(who, { kind: "removePathConfiguration", path, names: keys });
  }

  update(properties: ReadonlyMap<string, string>, user: string) {
    const outcome = this.#live.update(properties);
    const { logger } = this.#context.telemetry;
    for (const [name, refusal] of outcome) {
      if (refusal === null) logger.log("info", "conf", "configurationUpdated", { name, user });
      else logger.log("warn", "conf", "configurationNotUpdated", { name, user, reason: refusal });
    }
    return outcome;
  }
}
