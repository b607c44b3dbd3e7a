/**
 * A master's web port, joined: what its pages show and may do, from the parts of the master.
 * @module
 */
import { readlinkSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { masterWebAddresses } from "./conf/cluster.ts";
import { CommonKeys } from "./conf/common_keys.ts";
import { type Inconsistency, inconsistencies } from "./conf/consistency.ts";
import { formatHostPort } from "./conf/key_spec.ts";
import { MasterKeys } from "./conf/master_keys.ts";
import { type DaemonContext, machineName } from "./daemon.ts";
import type { MasterParts } from "./master_daemon.ts";
import type { MasterStatusPage } from "./master_status.ts";
import type { MasterWatch } from "./master_watch.ts";
import { LogFiles } from "./web/log_files.ts";
import { masterHandler } from "./web/master_api.ts";
import { startWebServer, type WebServer } from "./web/server.ts";
import type { CommonSource } from "./web/sources.ts";
import { StaticFiles } from "./web/static_files.ts";
import { LazyClient, WebFiles } from "./web_files.ts";

/** The file that standard output goes to; null when it is none, or the system does not say. */
function ownLog(): string | null {
  try {
    return readlinkSync("/proc/self/fd/1");
  } catch {
    return null; // no such thing on this system
  }
}

/** What all processes have alike. @param names under which this process is reached */
export function commonSource(context: DaemonContext, names: readonly string[]): CommonSource {
  const { configuration, live, telemetry, levels, scriptFolder } = context;
  for (const part of ["web", "main"]) levels.register(part);
  const masters = () => masterWebAddresses(configuration).map(formatHostPort);
  return {
    settings: () => ({
      refreshMs: live.get(CommonKeys.webRefreshInterval),
      hasActions: live.get(CommonKeys.webActionsEnabled),
      hasFileInfo: live.get(CommonKeys.webFileInfoEnabled),
    }),
    isUiEnabled: configuration.get(CommonKeys.webUiEnabled),
    metrics: telemetry.metrics,
    configuration: () => live.current.entries(),
    levels,
    logs: new LogFiles(configuration.get(CommonKeys.logsDir), ownLog()),
    statics: new StaticFiles(fileURLToPath(new URL("web_ui", scriptFolder))),
    guard: {
      get isEnabled() {
        return live.get(CommonKeys.webActionsEnabled);
      },
      allowedHosts: () => [...names, ...configuration.get(CommonKeys.webAllowedHosts)],
    },
    peers: masters,
    onAction: (action, peer, facts) =>
      telemetry.logger.log("info", "web", action, { peer, ...facts }),
    isDebug: configuration.get(CommonKeys.debug),
  };
}

/** Alluxio's report on how the configurations fit, from what the processes told this master. */
function configCheckOf({ configuration, blocks }: MasterParts) {
  const { address, reports } = configuration;
  const found = inconsistencies(
    reports.nodes({ address, configs: configuration.entries() }, blocks),
  );
  const errors = found.filter(({ isError }) => isError);
  const warnings = found.filter(({ isError }) => !isError);
  return {
    configCheckStatus: errors.length > 0 ? "FAILED" : warnings.length > 0 ? "WARN" : "PASSED",
    configCheckErrors: byScope(errors),
    configCheckErrorNum: errors.length,
    configCheckWarns: byScope(warnings),
    configCheckWarnNum: warnings.length,
  };
}

function byScope(found: readonly Inconsistency[]) {
  const scopes = [...new Set(found.map(({ scope }) => scope))];
  const shape = ({ key, values }: Inconsistency) => ({
    name: key,
    values: Object.fromEntries(values.map(({ value, nodes }) => [value, nodes])),
  });
  return Object.fromEntries(
    scopes.map((scope) => [scope, found.filter((each) => each.scope === scope).map(shape)]),
  );
}

export async function startMasterWeb(
  context: DaemonContext,
  parts: MasterParts,
  page: MasterStatusPage,
  watch: MasterWatch,
): Promise<WebServer> {
  const { configuration, telemetry } = context;
  const { namespace, admin } = parts;
  const client = new LazyClient(configuration);
  const hosts = () => page.status().members.map(({ web }) => web.slice(0, web.lastIndexOf(":")));
  const common = commonSource(context, [
    machineName(configuration),
    configuration.get(MasterKeys.hostname) ?? machineName(configuration),
    ...hosts(),
  ]);
  const server = await startWebServer({
    bindHost: configuration.get(MasterKeys.webBindHost),
    port: configuration.get(MasterKeys.webPort),
    handle: masterHandler({
      ...common,
      status: () => page.status(),
      files: new WebFiles({ fileSystem: namespace.fileSystem, census: watch.census }, client),
      elect: (address) => admin.transferTo(address),
      configCheck: () => configCheckOf(parts),
    }),
    onError: (path, error) => telemetry.logger.log("error", "web", "page failed", { path, error }),
  });
  return {
    port: server.port,
    async close() {
      await server.close();
      await client.close();
    },
  };
}
