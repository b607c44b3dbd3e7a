/**
 * The namespace and the files' bytes for the pages of a master: metadata from the master itself, bytes from the workers by
 * our own client, all as the user who runs the masters.
 * @module
 */
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { isRockpoolError, RockpoolError } from "./common/errors.ts";
import { type Path, parsePath } from "./common/path.ts";
import { formatHostPort } from "./conf/key_spec.ts";
import type { FileInfo } from "./master/api.ts";
import type { Census } from "./master/census.ts";
import { SYSTEM_CALL } from "./master/services_ports.ts";
import type { MasterParts } from "./master_daemon.ts";
import { CALL_TIMEOUT_MS, type LazyClient } from "./process_web.ts";
import type { FileEntry } from "./web/api_types.ts";
import type { FileBrowser, Page } from "./web/sources.ts";

const CENSUS_WAIT_MS = 1_000;
const READ = { loadMetadata: "once", accessBits: 0 } as const;

export function fileEntry(info: FileInfo): FileEntry {
  const { blocks, id } = info;
  return {
    id: id.toString(),
    name: info.name,
    path: info.path,
    isDirectory: info.isDirectory,
    lengthBytes: info.lengthBytes,
    blockSizeBytes: info.blockSizeBytes,
    createdMs: info.createdMs,
    modifiedMs: info.modifiedMs,
    owner: info.owner,
    group: info.group,
    mode: info.mode,
    persistence: info.persistence,
    isPinned: info.isPinned,
    isCompleted: info.isCompleted,
    isMountPoint: info.isMountPoint,
    inAlluxioPercentage: info.inAlluxioPercentage,
    ufsPath: info.ufsPath,
    blocks: blocks.map(({ blockId, lengthBytes, locations }) => ({
      id: blockId.toString(),
      lengthBytes,
      places: locations.map(({ workerAddress: { host, dataPort, webPort }, tierAlias }) => ({
        host,
        data: formatHostPort({ host, port: dataPort }),
        web: formatHostPort({ host, port: webPort }),
        tier: tierAlias,
      })),
    })),
  };
}

/** Of a directory's child or a file to be made: no relative steps, no root. */
function fileToMake(text: string): Path {
  const path = parsePath(text);
  if (path !== "/") return path;
  throw new RockpoolError("INVALID_ARGUMENT", "The path / is a directory", "Name a file to make");
}

export class WebFiles implements FileBrowser {
  readonly #fileSystem: MasterParts["namespace"]["fileSystem"];
  readonly #census: Census;
  readonly #client: LazyClient;

  constructor(
    parts: { readonly fileSystem: MasterParts["namespace"]["fileSystem"]; readonly census: Census },
    client: LazyClient,
  ) {
    this.#fileSystem = parts.fileSystem;
    this.#census = parts.census;
    this.#client = client;
  }

  async status(path: string): Promise<FileEntry> {
    return fileEntry(await this.#fileSystem.getStatus(SYSTEM_CALL, parsePath(path), READ));
  }

  async list(path: string, offset: number, limit: number): Promise<Page<FileEntry>> {
    const { fileInfos, fileCount } = await this.#fileSystem.listStatusPartial(
      SYSTEM_CALL,
      parsePath(path),
      {
        isRecursive: false,
        loadMetadata: "once",
        offset: offset === 0 ? { kind: "start" } : { kind: "skip", count: offset },
        batchSize: Math.max(1, limit),
        prefix: "",
      },
    );
    const entries = fileInfos.slice(0, limit).map(fileEntry);
    return { entries, total: Math.max(fileCount, offset + entries.length) };
  }

  async cached(offset: number, limit: number) {
    const { cachedFileIds, cachedFileCount, atMs } = await this.#census.fresh(CENSUS_WAIT_MS);
    const found = await Promise.all(
      cachedFileIds.slice(offset, offset + limit).map(async (id) => {
        try {
          return await this.status(await this.#fileSystem.getFilePath(SYSTEM_CALL, id));
        } catch (error) {
          if (isRockpoolError(error, "NOT_FOUND")) return null; // removed since it was counted
          throw error;
        }
      }),
    );
    return { entries: found.filter((entry) => entry !== null), total: cachedFileCount, atMs };
  }

  async read(path: string, offset: number, lengthBytes: number): Promise<Uint8Array> {
    const client = await this.#client.get();
    const signal = AbortSignal.timeout(CALL_TIMEOUT_MS);
    const file = await client.openFile(path, { readType: "NO_CACHE", signal });
    return file.readAt(offset, lengthBytes, { signal });
  }

  async open(path: string, offset: number, lengthBytes: number | null, signal: AbortSignal) {
    const client = await this.#client.get();
    const file = await client.openFile(path, { signal });
    const startBytes = Math.min(offset, file.lengthBytes);
    const length = Math.min(lengthBytes ?? file.lengthBytes, file.lengthBytes - startBytes);
    const body = file.stream({ startBytes, lengthBytes: length, signal });
    return { body, lengthBytes: length };
  }

  async create(path: string, body: Readable, signal: AbortSignal): Promise<FileEntry> {
    const client = await this.#client.get();
    const made = fileToMake(path);
    const out = await client.createFile(made, { isRecursive: false, signal });
    await pipeline(body, out, { signal });
    return this.status(made);
  }
}
