/**
 * The edge gateway of a master, joined: configuration → who may connect, journal → who leads, applied commands → watches.
 * @module
 */
import type { IncomingMessage } from "node:http";
import type { Path } from "./common/path.ts";
import { CommonKeys } from "./conf/common_keys.ts";
import type { Configuration } from "./conf/configuration.ts";
import { EdgeKeys } from "./conf/edge_keys.ts";
import type { DaemonContext } from "./daemon.ts";
import { blockUrlPath } from "./edge/block_url.ts";
import { EdgeGateway } from "./edge/gateway.ts";
import { EDGE_LIMITS, type EdgeChange, type EdgeGatewayEvent } from "./edge/ports.ts";
import { parseTokens, type TokenRules, type TokenTable } from "./edge/tokens.ts";
import { EdgeFiles, UPLOAD_PREFIX } from "./edge_files.ts";
import { edgeSecret, WatchedFile } from "./edge_secret.ts";
import { openKernels } from "./kernels/load.ts";
import type { Command } from "./master/command.ts";
import type { NamespaceView } from "./master/inode_tree.ts";
import type { MasterParts } from "./master_daemon.ts";
import type { MasterStatusPage } from "./master_status.ts";
import type { Reading } from "./telemetry/metrics.ts";
import { hostOf, originHost } from "./web/guard.ts";
import { refuseUpgrade } from "./web/server.ts";

/** A kernel's own memory and room for copying in; the gateway keeps nothing in it. */
const ARENA_BYTES = 64 * 1024;
/** A client fetches at once what it asked for; a large block takes its time, but it has begun by then. */
const URL_LIFE_MS = 5 * 60_000;

function tokenRules(configuration: Configuration): () => TokenRules {
  const path = configuration.get(EdgeKeys.edgeTokensPath);
  const secret = edgeSecret(configuration);
  const file =
    path === null
      ? null
      : new WatchedFile<TokenTable>(path, (bytes) => parseTokens(bytes.toString("utf8"), path));
  return () => ({
    tokens: file?.get() ?? new Map(),
    secret: secret?.() ?? null,
    anonymousUser: configuration.get(EdgeKeys.edgeAnonymousUser),
  });
}

/** Browsers name the page that connects; everything else names nobody. */
export function edgeRefusal(
  headers: IncomingMessage["headers"],
  origins: readonly string[],
  hosts: readonly string[],
): string | null {
  const here = hostOf(headers.host, { allowedHosts: () => hosts });
  if ("refusal" in here) return here.refusal;
  const { origin } = headers;
  if (origin === undefined || origins.includes("*") || origins.includes(origin)) return null;
  if (originHost(origin) === here.host) return null;
  return `Pages of ${origin} may not connect: add it to ${EdgeKeys.edgeAllowedOrigins.key}`;
}

/** What those who watch are told of a command that was carried out. */
function changesOf(command: Command, view: NamespaceView): readonly EdgeChange[] {
  const change = (kind: EdgeChange["kind"], path: Path, mayMakeParents = false): EdgeChange => ({
    ...{ kind, path, mayMakeParents },
  });
  switch (command.kind) {
    case "createDirectory":
    case "createFile":
      return [change("created", command.path, command.isRecursive)];
    case "completeFile":
      return [change("completed", command.path)];
    case "remove":
      return [change("deleted", command.path)];
    case "rename":
      // What was uploaded to replace a file is there at last.
      if (isUpload(command.path)) return [change("completed", command.dstPath)];
      return [{ ...change("renamed", command.path), to: command.dstPath }];
    case "setAttribute":
      return command.ids
        .map((id) => view.pathOf(id))
        .filter((path) => path !== null)
        .map((path) => change("changed", path));
    case "loadedFromUfs": {
      const path = view.pathOf(command.directoryId);
      if (path === null) return [];
      const below = path === "/" ? "" : path;
      // As Path: names of children of a directory make paths.
      return command.facts.map(({ name }) => change("changed", `${below}/${name}` as Path));
    }
    default:
      return [];
  }
}

function isUpload(path: string): boolean {
  return path.includes(`/${UPLOAD_PREFIX}`);
}

export type MasterEdge = {
  readonly gateway: EdgeGateway;
  close(): Promise<void>;
};

/**
 * @param hosts names under which this master is reached
 * @param serve takes what is measured
 */
export function createMasterEdge(
  context: DaemonContext,
  parts: MasterParts,
  page: MasterStatusPage,
  hosts: () => readonly string[],
  serve: (reading: Reading) => void,
): MasterEdge | null {
  const { configuration, telemetry, world } = context;
  if (!configuration.get(EdgeKeys.edgeEnabled)) return null;
  const secret = edgeSecret(configuration);
  const urlOf =
    secret === null
      ? null
      : (blockId: bigint) => blockUrlPath(blockId, world.clock.wallMs() + URL_LIFE_MS, secret());
  const files = new EdgeFiles({ configuration, parts, urlOf });
  const origins = configuration.get(EdgeKeys.edgeAllowedOrigins);
  const gateway = new EdgeGateway({
    files,
    leadership: {
      serves: () => parts.isServing(),
      term: () => parts.journal.status().term,
      leader: () => page.status().leader?.web ?? null,
      masters: () => page.status().members.map(({ web }) => web),
    },
    limits: {
      ...EDGE_LIMITS,
      connectionsMax: configuration.get(EdgeKeys.edgeConnectionsMax),
      writeBytesMax: configuration.get(EdgeKeys.edgeWriteMax),
    },
    kernels: openKernels({
      flavour: configuration.get(CommonKeys.rockpoolCore),
      arenaBytes: ARENA_BYTES,
    }),
    clock: world.clock,
    timers: world.timers,
    tokenRules: tokenRules(configuration),
    refusalOf: (headers) =>
      edgeRefusal(headers, origins, [...hosts(), ...configuration.get(CommonKeys.webAllowedHosts)]),
    refuse: refuseUpgrade,
    onEvent: telemetry.listen<EdgeGatewayEvent>("edge", {
      edgeConnected: "debug",
      edgeDisconnected: "debug",
      edgeRefused: "warn",
      edgeFailed: "error",
    }),
  });
  parts.state.onCommands((commands) => {
    if (gateway.watches.count === 0) return;
    for (const command of commands)
      for (const change of changesOf(command, parts.state.view))
        if (!isUpload(change.path)) gateway.watches.publish(change);
  });
  parts.journal.onLeadership(({ kind }) => {
    if (kind === "lost") gateway.leadershipLost();
  });
  const { counters } = gateway;
  const reading = (
    name: string,
    help: string,
    kind: "gauge" | "counter",
    read: () => number,
  ): Reading => ({ name, help, kind, read });
  for (const each of [
    reading(
      "Master.EdgeConnections",
      "Edge clients connected",
      "gauge",
      () => gateway.connectionCount,
    ),
    reading("Master.EdgeRequests", "Requests of edge clients", "counter", () => counters.requests),
    reading(
      "Master.EdgeBytesSent",
      "Bytes sent to edge clients",
      "counter",
      () => counters.bytesSent,
    ),
    reading(
      "Master.EdgeStoredChecksumBytes",
      "Bytes sent to edge clients with the checksums that workers keep",
      "counter",
      () => counters.bytesWithStoredChecksums,
    ),
  ])
    serve(each);
  return {
    gateway,
    async close() {
      gateway.close();
      await files.close();
    },
  };
}
