/**
 * The configuration on the wire: defaults of the cluster and of paths, changes at run time, and what the processes of the
 * cluster report of themselves.
 *
 * Clients ask for the defaults before they log in, and then every minute for their hash: when it differs from the one
 * they know they start over. So it is a function of the defaults alone, the same on all masters. Who asks for texts as
 * they are written (raw) is a client that takes defaults; anybody else is a person, who gets all of this master's.
 * @module
 */
import { createHash } from "node:crypto";
import { RockpoolError } from "../common/errors.ts";
import { parsePath } from "../common/path.ts";
import { type Inconsistency, inconsistencies } from "../conf/consistency.ts";
import { parseHostPort } from "../conf/key_spec.ts";
import {
  ConfigStatus,
  type GetConfigReportPResponseInit,
  MetaCommand,
  MetaMasterConfigurationService,
  MetaMasterMasterService,
} from "../proto/gen/meta_master.ts";
import { ConfigurationAdmin } from "../proto/gen/rockpool_internal.ts";
import { type CallContext, type ServiceTable, unary } from "../rpc/service.ts";
import type { Principal } from "./api.ts";
import {
  callOf,
  leaderUnary,
  type MasterServicePorts,
  requireServing,
  requireSuperuser,
} from "./services_ports.ts";

/** The version whose protocol this is. Alluxio's client ends with a NullPointerException without these two. */
const REQUIRED_DEFAULTS: readonly (readonly [string, string])[] = [
  ["alluxio.version", "2.9.4"],
  ["alluxio.underfs.version", "3.3.4"],
];
const SOURCE = "CLUSTER_DEFAULT";
const PATH_SOURCE = "PATH_DEFAULT";

function hashOf(lines: readonly string[]): string {
  return createHash("sha256").update(lines.join("\n")).digest("hex").slice(0, 32);
}

function clusterPart({ configuration }: MasterServicePorts) {
  const defaults = [...new Map([...configuration.clusterDefaults(), ...REQUIRED_DEFAULTS])].sort(
    ([a], [b]) => (a < b ? -1 : 1),
  );
  return {
    clusterConfigs: defaults.map(([key, value]) => ({ name: key, source: SOURCE, value })),
    clusterConfigHash: hashOf(defaults.map(([key, value]) => `${key}=${value}`)),
    clusterConfigLastUpdateTime: 0,
  };
}

function pathPart({ configuration }: MasterServicePorts) {
  const byPath = [...configuration.pathDefaults()];
  const lines = byPath.flatMap(([path, properties]) =>
    properties.map(({ name, value }) => `${path} ${name}=${value}`),
  );
  return {
    pathConfigs: new Map(
      byPath.map(([path, properties]) => [
        path,
        {
          properties: properties.map(({ name, value }) => ({ name, value, source: PATH_SOURCE })),
        },
      ]),
    ),
    pathConfigHash: hashOf(lines),
    pathConfigLastUpdateTime: 0,
  };
}

/** @throws RockpoolError PERMISSION_DENIED */
async function requireAdministrator(
  ports: MasterServicePorts,
  context: CallContext,
): Promise<Principal> {
  await requireSuperuser(ports, context, "change the configuration");
  return (await callOf(ports, context)).principal;
}

export function metaConfigurationService(ports: MasterServicePorts): ServiceTable {
  const { methods, name } = MetaMasterConfigurationService;
  const { configuration } = ports;
  return {
    name,
    isAuthenticated: false,
    authenticatedPaths: [
      methods.SetPathConfiguration.path,
      methods.RemovePathConfiguration.path,
      methods.UpdateConfiguration.path,
    ],
    methods: [
      unary(methods.GetConfiguration, ({ rawValue, ignoreClusterConf, ignorePathConf }) => {
        const cluster = clusterPart(ports);
        return {
          ...(ignoreClusterConf !== true && {
            ...cluster,
            clusterConfigs:
              rawValue === true ? cluster.clusterConfigs : [...configuration.entries()],
          }),
          ...(ignorePathConf !== true && pathPart(ports)),
        };
      }),
      unary(methods.GetConfigHash, () => {
        const { clusterConfigHash } = clusterPart(ports);
        return { clusterConfigHash, pathConfigHash: pathPart(ports).pathConfigHash };
      }),
      leaderUnary(ports, methods.SetPathConfiguration, async ({ path, properties }, context) => {
        const who = await requireAdministrator(ports, context);
        const wanted = [...properties].map(([key, value]) => ({ name: key, value }));
        await configuration.setPathDefaults(who, parsePath(path ?? ""), wanted);
        return {};
      }),
      leaderUnary(ports, methods.RemovePathConfiguration, async ({ path, keys }, context) => {
        const who = await requireAdministrator(ports, context);
        await configuration.removePathDefaults(who, parsePath(path ?? ""), keys);
        return {};
      }),
      // Each master has its own: our command tells all of them, Alluxio's only the leader.
      unary(methods.UpdateConfiguration, async ({ properties }, context) => {
        const { user } = await requireAdministrator(ports, context);
        const outcome = configuration.update(properties, user);
        return { status: new Map([...outcome].map(([key, refusal]) => [key, refusal === null])) };
      }),
    ],
  };
}

function byScope(found: readonly Inconsistency[]) {
  const scopes = new Map<string, Inconsistency[]>();
  for (const one of found) scopes.set(one.scope, [...(scopes.get(one.scope) ?? []), one]);
  return new Map(
    [...scopes].map(([scope, ones]) => [
      scope,
      {
        properties: ones.map(({ key, values }) => ({
          name: key,
          values: new Map(values.map(({ value, nodes }) => [value, { values: nodes }])),
        })),
      },
    ]),
  );
}

function nodesOf({ configuration, blocks }: MasterServicePorts) {
  const self = { address: configuration.address, configs: configuration.entries() };
  return configuration.reports.nodes(self, blocks);
}

/** What Alluxio's `fsadmin doctor configuration` prints. */
export function configReport(ports: MasterServicePorts): GetConfigReportPResponseInit {
  const found = inconsistencies(nodesOf(ports));
  const errors = found.filter(({ isError }) => isError);
  const warns = found.filter(({ isError }) => !isError);
  const status =
    errors.length > 0
      ? ConfigStatus.FAILED
      : warns.length > 0
        ? ConfigStatus.WARN
        : ConfigStatus.PASSED;
  return { report: { status, errors: byScope(errors), warns: byScope(warns) } };
}

/** Standbys report to the leader, as Alluxio's do. */
export function metaMasterService(ports: MasterServicePorts): ServiceTable {
  const { methods, name } = MetaMasterMasterService;
  const { reports } = ports.configuration;
  return {
    name,
    isAuthenticated: true,
    methods: [
      leaderUnary(ports, methods.GetMasterId, ({ masterAddress }) => {
        const { host = "", rpcPort = 0 } = masterAddress ?? {};
        if (parseHostPort(`${host.includes(":") ? `[${host}]` : host}:${rpcPort}`) === null)
          throw new RockpoolError("INVALID_ARGUMENT", `"${host}:${rpcPort}" is no address`);
        return { masterId: reports.masterIdOf(`${host}:${rpcPort}`) };
      }),
      leaderUnary(ports, methods.RegisterMaster, ({ masterId = 0n, options }) => {
        if (reports.registerMaster(masterId, options?.configs ?? [])) return {};
        throw new RockpoolError(
          "NOT_FOUND",
          `No master has the id ${masterId}`,
          "Ask for it again",
        );
      }),
      leaderUnary(ports, methods.MasterHeartbeat, ({ masterId = 0n }) => ({
        command: reports.heard(masterId)
          ? MetaCommand.MetaCommand_Nothing
          : MetaCommand.MetaCommand_Register,
      })),
    ],
  };
}

/** For our own commands: everything that was reported, with files and lines. */
export function configurationAdminService(ports: MasterServicePorts): ServiceTable {
  const { methods, name } = ConfigurationAdmin;
  return {
    name,
    isAuthenticated: true,
    methods: [
      unary(methods.GetNodeConfigurations, () => {
        requireServing(ports);
        const nodes = nodesOf(ports).map(({ kind, address, properties }) => ({
          isMaster: kind === "master",
          address,
          properties: [...properties].map(([key, { value, source }]) => ({
            name: key,
            value: value ?? undefined,
            source,
          })),
        }));
        return { nodes };
      }),
    ],
  };
}
