/**
 * A master's web port, joined: what its pages show and may do, from the parts of the master.
 * @module
 */
import { type Inconsistency, inconsistencies } from "./conf/consistency.ts";
import { MasterKeys } from "./conf/master_keys.ts";
import { type DaemonContext, machineName } from "./daemon.ts";
import { EDGE_PATH } from "./edge/gateway.ts";
import { createMasterEdge } from "./edge_gateway.ts";
import type { MasterParts } from "./master_daemon.ts";
import type { MasterStatusPage } from "./master_status.ts";
import type { MasterWatch } from "./master_watch.ts";
import { commonSource, LazyClient } from "./process_web.ts";
import type { Reading } from "./telemetry/metrics.ts";
import { masterHandler } from "./web/master_api.ts";
import { pathOf, refuseUpgrade, startWebServer, type WebServer } from "./web/server.ts";
import { WebFiles } from "./web_files.ts";

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
  serve: (reading: Reading) => void,
): Promise<WebServer> {
  const { configuration, telemetry } = context;
  const { namespace, admin } = parts;
  const client = new LazyClient(configuration);
  const hosts = () => page.status().members.map(({ web }) => web.slice(0, web.lastIndexOf(":")));
  const names = [
    machineName(configuration),
    configuration.get(MasterKeys.hostname) ?? machineName(configuration),
  ];
  const common = commonSource(context, [...names, ...hosts()]);
  const edge = createMasterEdge(context, parts, page, () => [...names, ...hosts()], serve);
  const server = await startWebServer({
    bindHost: configuration.get(MasterKeys.webBindHost),
    port: configuration.get(MasterKeys.webPort),
    handle: masterHandler({
      ...common,
      // Of those that ZooKeeper lists too.
      peers: () => [
        ...new Set([...common.peers(), ...page.status().members.map(({ web }) => web)]),
      ],
      status: () => page.status(),
      files: new WebFiles({ fileSystem: namespace.fileSystem, census: watch.census }, client),
      elect: (address) => admin.transferTo(address),
      configCheck: () => configCheckOf(parts),
    }),
    onError: (path, error) => telemetry.logger.log("error", "web", "page failed", { path, error }),
    onUpgrade: (request, socket, head) => {
      if (edge !== null && pathOf(request.url ?? "") === EDGE_PATH)
        edge.gateway.upgrade(request, socket, head);
      else refuseUpgrade(socket, "404 Not Found");
    },
  });
  return {
    port: server.port,
    async close() {
      await edge?.close();
      await server.close();
      await client.close();
    },
  };
}
