/**
 * What the web ports of masters and workers have alike, joined; and a client of the own cluster for their pages.
 * @module
 */
import { readlinkSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { FileSystem } from "./client/file_system.ts";
import { masterRpcAddresses, masterWebAddresses } from "./conf/cluster.ts";
import { CommonKeys } from "./conf/common_keys.ts";
import type { Configuration } from "./conf/configuration.ts";
import { formatHostPort } from "./conf/key_spec.ts";
import { UserKeys } from "./conf/user_keys.ts";
import { type DaemonContext, processUser } from "./daemon.ts";
import { LogFiles } from "./web/log_files.ts";
import type { CommonSource } from "./web/sources.ts";
import { StaticFiles } from "./web/static_files.ts";
import { nodeWorld } from "./world/node_world.ts";
import { masterInquiry } from "./zookeeper_masters.ts";

/** A page does not wait longer for masters or workers that hang. */
export const CALL_TIMEOUT_MS = 10_000;

/** A client of the own cluster, loaded and made when it is first needed: most processes never do. */
export class LazyClient {
  readonly #configuration: Configuration;
  readonly #user: string;
  #client: Promise<FileSystem> | null = null;

  /** @param user in whose name; the process's own when left out */
  constructor(configuration: Configuration, user = processUser(configuration)) {
    this.#configuration = configuration;
    this.#user = user;
  }

  get(): Promise<FileSystem> {
    // One that failed is not the answer to the next.
    this.#client ??= this.#connect().catch((error: unknown) => {
      this.#client = null;
      throw error;
    });
    return this.#client;
  }

  async close(): Promise<void> {
    await (await this.#client)?.close();
  }

  async #connect(): Promise<FileSystem> {
    const configuration = this.#configuration;
    const client = await import("./client/file_system.ts");
    return client.FileSystem.connect({
      masters:
        masterInquiry(configuration, nodeWorld()) ??
        masterRpcAddresses(configuration).map(formatHostPort),
      user: this.#user,
      authentication: configuration.get(CommonKeys.authenticationType),
      callTimeoutMs: CALL_TIMEOUT_MS,
      blockSizeBytes: configuration.get(UserKeys.blockSize),
    });
  }
}

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
