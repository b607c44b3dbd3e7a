/**
 * The files of the cluster for the edge gateway: metadata from the master itself with the rights of the connection's user, bytes
 * from the workers by our own client.
 * @module
 */
import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { FileStatus } from "./client/file_status.ts";
import type { FileSystem } from "./client/file_system.ts";
import { isRockpoolError, RockpoolError } from "./common/errors.ts";
import { parsePath } from "./common/path.ts";
import type { Configuration } from "./conf/configuration.ts";
import { formatHostPort } from "./conf/key_spec.ts";
import { BlockFetcher } from "./edge/block_fetch.ts";
import type { EdgeBody, EdgeChunk, EdgeFile, EdgeFiles as EdgeFilesPort } from "./edge/ports.ts";
import type { EdgeListing, EdgePlaces, EdgeStatus } from "./edge/words.ts";
import type { BlockLocation, Call, FileInfo, OperationId } from "./master/api.ts";
import { mayTraverse } from "./master/permissions.ts";
import type { MasterParts } from "./master_daemon.ts";
import { LazyClient } from "./process_web.ts";

/** Users in whose name edge clients write, at a time. */
const WRITERS_MAX = 64;
const READ_BIT = 4;
/** Begins the name of what is uploaded to replace a file, until it does. Nobody who watches hears of it. */
export const UPLOAD_PREFIX = ".rockpool-upload-";

type Writer = { readonly client: LazyClient; uses: number };

/** Blocks never change under an id, and a file that is written again has another id. */
function etagOf({ id, lengthBytes, modifiedMs }: FileInfo): string {
  return `"${id.toString(36)}-${lengthBytes.toString(36)}-${modifiedMs.toString(36)}"`;
}

export function edgeStatus(info: FileInfo): EdgeStatus {
  return {
    id: info.id.toString(),
    path: info.path,
    name: info.name,
    isDirectory: info.isDirectory,
    isCompleted: info.isCompleted,
    lengthBytes: info.lengthBytes,
    blockSizeBytes: info.blockSizeBytes,
    createdMs: info.createdMs,
    modifiedMs: info.modifiedMs,
    owner: info.owner,
    group: info.group,
    mode: info.mode,
    persistence: info.persistence,
    cachedPercent: info.inAlluxioPercentage,
    etag: etagOf(info),
  };
}

/** What the masters say of a file, as they would say it to the client library. */
function statusForClient(info: FileInfo): FileStatus {
  let offsetBytes = 0;
  const blocks = info.blocks.map(({ blockId, lengthBytes, locations }) => {
    const block = {
      id: blockId,
      offsetBytes,
      lengthBytes,
      locations: locations.map(({ workerId, workerAddress, tierAlias, mediumType }) => ({
        ...{ workerId, tierAlias, mediumType },
        address: workerAddress,
      })),
    };
    offsetBytes += info.blockSizeBytes;
    return block;
  });
  return {
    ...info,
    blocks,
    isPersisted: info.persistence === "PERSISTED",
    isCacheable: true,
    hasExtendedAcl: false,
    pinnedMedia: [],
    xattr: new Map(Object.entries(info.xattr)),
  };
}

function operationId(hex: string | null): OperationId | null {
  if (hex === null) return null;
  return { high: BigInt(`0x${hex.slice(0, 16)}`), low: BigInt(`0x${hex.slice(16)}`) };
}

export type EdgeFilesDeps = {
  readonly configuration: Configuration;
  readonly parts: Pick<MasterParts, "namespace" | "principals" | "state">;
  /** Signed path and query by which workers give a block; null when the cluster has no secret. */
  readonly urlOf: ((blockId: bigint) => string) | null;
};

/** Where a worker's web port is. */
function webOf({ workerAddress }: BlockLocation): { readonly host: string; readonly port: number } {
  const { host, containerHost, webPort } = workerAddress;
  return { host: containerHost === "" ? host : containerHost, port: webPort };
}

export class EdgeFiles implements EdgeFilesPort {
  readonly #deps: EdgeFilesDeps;
  /** Reads the bytes of files that a user was found to be allowed to read. */
  readonly #reader: LazyClient;
  /** The one that was used last is the last. */
  readonly #writers = new Map<string, Writer>();
  readonly #fetcher = new BlockFetcher();

  constructor(deps: EdgeFilesDeps) {
    this.#deps = deps;
    this.#reader = new LazyClient(deps.configuration);
  }

  async close(): Promise<void> {
    this.#fetcher.close();
    const writers = [...this.#writers.values()].map(({ client }) => client);
    await Promise.all([this.#reader, ...writers].map((client) => client.close()));
  }

  async status(user: string, path: string): Promise<EdgeStatus> {
    return edgeStatus(await this.#info(user, path, 0));
  }

  async watchable(user: string, path: string): Promise<(path: string) => boolean> {
    await this.#info(user, path, READ_BIT);
    const { principals, state } = this.#deps.parts;
    const principal = await principals.principalOf(user);
    return (below) =>
      principal.isSuperuser || mayTraverse(principal, state.view.walk(parsePath(below)));
  }

  async list(user: string, path: string, after: string, limit: number): Promise<EdgeListing> {
    const { namespace } = this.#deps.parts;
    const page = await namespace.fileSystem.listStatusPartial(
      await this.#call(user, null),
      parsePath(path),
      {
        isRecursive: false,
        loadMetadata: "once",
        offset: after === "" ? { kind: "start" } : { kind: "afterName", name: after },
        batchSize: limit,
        prefix: "",
      },
    );
    const entries = page.fileInfos.map(edgeStatus);
    return { entries, next: page.isTruncated ? (entries.at(-1)?.name ?? null) : null };
  }

  async open(user: string, path: string): Promise<EdgeFile> {
    const info = await this.#info(user, path, READ_BIT);
    if (info.isDirectory)
      throw new RockpoolError(
        "FAILED_PRECONDITION",
        `Cannot read ${path}: it is a directory`,
        "Name a file",
      );
    if (!info.isCompleted)
      throw new RockpoolError(
        "FAILED_PRECONDITION",
        `Cannot read ${path}: it is being written`,
        "Wait until its writer has closed it",
      );
    const client = await this.#reader.get();
    const { urlOf } = this.#deps;
    const blocks = urlOf === null ? null : { urlOf, fetcher: this.#fetcher };
    return new OpenEdgeFile(info, client, blocks);
  }

  async create(
    user: string,
    path: string,
    body: EdgeBody,
    options: { readonly isOverwrite: boolean; readonly signal: AbortSignal },
  ): Promise<EdgeStatus> {
    const { isOverwrite, signal } = options;
    // What is to be replaced stays until all of the new is there.
    const target = isOverwrite ? besideOf(path) : path;
    const writer = this.#writer(user);
    writer.uses++;
    try {
      const client = await writer.client.get();
      const out = await client.createFile(target, { isRecursive: true, signal });
      await pipeline(Readable.from(body.chunks, { objectMode: false }), out, { signal });
      if (isOverwrite) await replace(client, target, path);
    } finally {
      writer.uses--;
    }
    return this.status(user, path);
  }

  async remove(
    user: string,
    path: string,
    options: { readonly isRecursive: boolean; readonly operation: string | null },
  ): Promise<void> {
    const { fileSystem } = this.#deps.parts.namespace;
    const { isRecursive, operation } = options;
    const call = await this.#call(user, operation);
    await fileSystem.remove(call, parsePath(path), { isRecursive, isAlluxioOnly: false });
  }

  async rename(
    user: string,
    path: string,
    to: string,
    options: { readonly isOverwrite: boolean; readonly operation: string | null },
  ): Promise<void> {
    const { fileSystem } = this.#deps.parts.namespace;
    const { isOverwrite, operation } = options;
    const call = await this.#call(user, operation);
    await fileSystem.rename(call, parsePath(path), parsePath(to), { isOverwrite });
  }

  async #call(user: string, operation: string | null): Promise<Call> {
    const principal = await this.#deps.parts.principals.principalOf(user);
    return { principal, operationId: operationId(operation) };
  }

  async #info(user: string, path: string, accessBits: number): Promise<FileInfo> {
    const { fileSystem } = this.#deps.parts.namespace;
    const call = await this.#call(user, null);
    return fileSystem.getStatus(call, parsePath(path), { loadMetadata: "once", accessBits });
  }

  /** The one that has written for longest makes room for another. */
  #writer(user: string): Writer {
    const writer = this.#writers.get(user) ?? {
      client: new LazyClient(this.#deps.configuration, user),
      uses: 0,
    };
    if (!this.#writers.delete(user) && this.#writers.size >= WRITERS_MAX) this.#dropIdleWriter();
    this.#writers.set(user, writer);
    return writer;
  }

  #dropIdleWriter(): void {
    const [user, writer] = [...this.#writers].find(([, { uses }]) => uses === 0) ?? [];
    if (user === undefined || writer === undefined)
      throw new RockpoolError(
        "RESOURCE_EXHAUSTED",
        `${WRITERS_MAX} users write by way of this master at this moment`,
        "Write again in a moment",
      );
    this.#writers.delete(user);
    void writer.client.close();
  }
}

/** A name for what is being uploaded to take the place of a file. */
function besideOf(path: string): string {
  return `${path.slice(0, path.lastIndexOf("/") + 1)}${UPLOAD_PREFIX}${randomBytes(16).toString("hex")}`;
}

async function replace(client: FileSystem, uploaded: string, path: string): Promise<void> {
  try {
    await client.rename(uploaded, path, { isOverwrite: true });
  } catch (error) {
    await client.delete(uploaded).catch(() => {}); // the first failure is the one to tell
    throw error;
  }
}

type Direct = { readonly urlOf: (blockId: bigint) => string; readonly fetcher: BlockFetcher };

class OpenEdgeFile implements EdgeFile {
  readonly status: EdgeStatus;
  readonly #info: FileInfo;
  readonly #client: FileSystem;
  readonly #direct: Direct | null;

  constructor(info: FileInfo, client: FileSystem, direct: Direct | null) {
    this.status = edgeStatus(info);
    this.#info = info;
    this.#client = client;
    this.#direct = direct;
  }

  async *chunks(
    startBytes: number,
    lengthBytes: number,
    signal: AbortSignal,
  ): AsyncGenerator<EdgeChunk, void, undefined> {
    const { blockSizeBytes } = this.#info;
    const end = startBytes + lengthBytes;
    for (let at = startBytes; at < end; ) {
      const blockEnd = (Math.floor(at / blockSizeBytes) + 1) * blockSizeBytes;
      yield* this.#ofBlock(at, Math.min(end, blockEnd) - at, signal);
      at = blockEnd;
    }
  }

  /** From a worker as it is stored; what it does not give, by our client, which knows all ways to the bytes. */
  async *#ofBlock(
    startBytes: number,
    lengthBytes: number,
    signal: AbortSignal,
  ): AsyncGenerator<EdgeChunk, void, undefined> {
    const { blocks, blockSizeBytes } = this.#info;
    const block = blocks[Math.floor(startBytes / blockSizeBytes)];
    const [location] = block?.locations ?? [];
    let given = 0;
    if (this.#direct !== null && block !== undefined && location !== undefined) {
      const { urlOf, fetcher } = this.#direct;
      const place = { ...webOf(location), path: urlOf(block.blockId) };
      try {
        const start = startBytes % blockSizeBytes;
        for await (const chunk of fetcher.read(place, start, lengthBytes, signal)) {
          given += chunk.bytes.length;
          yield chunk;
        }
        return;
      } catch (error) {
        if (!isRockpoolError(error, "UNAVAILABLE") || signal.aborted) throw error;
      }
    }
    const file = this.#client.openKnown(statusForClient(this.#info));
    const range = { startBytes: startBytes + given, lengthBytes: lengthBytes - given, signal };
    for await (const bytes of file.chunks(range)) yield { bytes, sums: null };
  }

  places(): EdgePlaces {
    const { status } = this;
    const direct = this.#direct;
    if (direct === null)
      return { status, blocks: [{ offset: 0, length: status.lengthBytes, urls: [] }] };
    const { blocks, blockSizeBytes } = this.#info;
    return {
      status,
      blocks: blocks.map(({ blockId, lengthBytes, locations }, at) => ({
        offset: at * blockSizeBytes,
        length: lengthBytes,
        urls: locations.map((location) => {
          const { host, port } = webOf(location);
          return `http://${formatHostPort({ host, port })}${direct.urlOf(blockId)}`;
        }),
      })),
    };
  }
}
