/**
 * A cluster in memory behind real sockets, for tests of the client: masters that share one namespace
 * and workers that share one under store, with faults that a test switches on.
 * @module
 */
import { posix } from "node:path";
import { RockpoolError } from "../src/common/errors.ts";
import { BlockMasterClientService } from "../src/proto/gen/block_master.ts";
import { BlockWorker, type ReadRequest, RequestType } from "../src/proto/gen/block_worker.ts";
import {
  type FileInfoInit,
  FileSystemMasterClientService,
} from "../src/proto/gen/file_system_master.ts";
import { ServiceVersionClientService } from "../src/proto/gen/version.ts";
import { GrpcServer } from "../src/rpc/grpc_server.ts";
import { SaslAuthentication } from "../src/rpc/sasl.ts";
import { bidi, type ServiceTable, serverStream, unary } from "../src/rpc/service.ts";
import { type WriteMessage, writeBlockShape } from "../src/rpc/write_messages.ts";

type FakeFile = {
  readonly id: bigint;
  readonly isDirectory: boolean;
  readonly blockSizeBytes: number;
  blocks: bigint[];
  lengthBytes: number;
  isCompleted: boolean;
  isPersisted: boolean;
  wantsPersist: boolean;
};

const CHUNK_BYTES = 64 * 1024;

export class FakeWorker {
  readonly name: string;
  readonly cluster: FakeCluster;
  readonly blocks = new Map<bigint, Buffer>();
  readonly reads: ReadRequest[] = [];
  readonly cached: bigint[] = [];
  port = 0;
  /** Writes that ended without a commit. */
  droppedWrites = 0;
  capacityBytes = 1024 * 1024 * 1024;
  /** Reads fail after this many bytes; null: never. */
  failReadAfterBytes: number | null = null;
  /** What reads are answered with. */
  readFailure: RockpoolError | null = null;
  /** Told of each read that begins. */
  onRead: (() => void) | null = null;
  failWriteAfterBytes: number | null = null;
  failCommit = false;
  /** Reads end with OK after this many bytes. */
  endReadAfterBytes: number | null = null;
  /** Most bytes of a read that were sent and not acknowledged. */
  aheadMax = 0;
  #server: GrpcServer | null = null;

  constructor(cluster: FakeCluster, name: string) {
    this.cluster = cluster;
    this.name = name;
  }

  get address() {
    return {
      host: this.name,
      containerHost: "127.0.0.1",
      rpcPort: this.port,
      dataPort: this.port,
      webPort: 0,
      domainSocketPath: "",
      tieredIdentity: { tiers: [{ tierName: "node", value: this.name }] },
    };
  }

  async start(): Promise<void> {
    this.#server = await serve([this.#table()], (port) => {
      this.port = port;
    });
  }

  async stop(): Promise<void> {
    await this.#server?.close(0);
    this.#server = null;
  }

  #table(): ServiceTable {
    const shapes = BlockWorker.methods;
    return {
      name: BlockWorker.name,
      isAuthenticated: true,
      methods: [
        bidi(shapes.ReadBlock, (requests, out, context) =>
          this.#read(requests, out, context.signal),
        ),
        bidi(writeBlockShape, (requests) => this.#write(requests)),
        unary(shapes.Cache, (request) => {
          this.cached.push(request.blockId ?? -1n);
          return {};
        }),
      ],
    };
  }

  #bytesOf(request: ReadRequest): Buffer {
    const held = this.blocks.get(request.blockId ?? -1n);
    if (held !== undefined) return held;
    const ufs = request.openUfsBlockOptions;
    const whole = ufs?.ufsPath === undefined ? undefined : this.cluster.ufs.get(ufs.ufsPath);
    if (whole === undefined) throw new RockpoolError("NOT_FOUND", `No block ${request.blockId}`);
    const start = ufs?.offsetInFile ?? 0;
    return whole.subarray(start, start + (ufs?.blockSize ?? 0));
  }

  async #read(
    requests: AsyncIterable<ReadRequest>,
    out: { send(message: { chunk: { data: Uint8Array } }): boolean; drained(): Promise<void> },
    signal: AbortSignal,
  ): Promise<void> {
    const iterator = requests[Symbol.asyncIterator]();
    const first = (await iterator.next()).value as ReadRequest; // a stream begins with a request
    this.reads.push(first);
    this.onRead?.();
    if (this.readFailure !== null) throw this.readFailure;
    const { offset = 0, length = 0 } = first;
    const bytes = this.#bytesOf(first).subarray(offset, offset + length);
    let acknowledged = offset;
    const follow = (async () => {
      for (let next = await iterator.next(); next.done !== true; next = await iterator.next())
        acknowledged = Math.max(acknowledged, next.value.offsetReceived ?? 0);
    })();
    follow.catch(() => undefined);
    for (let at = 0; at < bytes.length && !signal.aborted; at += CHUNK_BYTES) {
      if (this.failReadAfterBytes !== null && at >= this.failReadAfterBytes)
        throw new RockpoolError("UNAVAILABLE", `${this.name} is going down`);
      if (this.endReadAfterBytes !== null && at >= this.endReadAfterBytes) return;
      while (offset + at - acknowledged >= 4 * 1024 * 1024 && !signal.aborted)
        await new Promise((resolve) => setImmediate(resolve));
      this.aheadMax = Math.max(this.aheadMax, offset + at - acknowledged);
      if (!out.send({ chunk: { data: bytes.subarray(at, at + CHUNK_BYTES) } })) await out.drained();
    }
  }

  async #write(requests: AsyncIterable<WriteMessage>): Promise<void> {
    let id = -1n;
    let ufsPath: string | null = null;
    const pieces: Buffer[] = [];
    let length = 0;
    let mayCommit = true;
    try {
      for await (const { command, chunk, isCommitExplicit, commitLength } of requests) {
        if (isCommitExplicit === true) mayCommit = false;
        if (commitLength === length) mayCommit = true;
        if (command !== undefined) {
          id = command.id ?? -1n;
          if (command.type === RequestType.UFS_FILE)
            ufsPath = command.createUfsFileOptions?.ufsPath ?? null;
        }
        if (chunk?.data === undefined) continue;
        pieces.push(Buffer.from(chunk.data));
        length += chunk.data.length;
        if (this.failWriteAfterBytes !== null && length > this.failWriteAfterBytes)
          throw new RockpoolError("UNAVAILABLE", `${this.name} is going down`);
      }
      if (!mayCommit) throw new RockpoolError("CANCELLED", "Nothing was committed");
      await this.cluster.atPoint?.("WriteBlock", "came");
      if (this.failCommit) throw new RockpoolError("UNAVAILABLE", `${this.name} cannot commit`);
    } catch (error) {
      this.droppedWrites += 1;
      throw error;
    }
    const bytes = Buffer.concat(pieces);
    if (ufsPath !== null) this.cluster.ufs.set(ufsPath, bytes);
    else this.blocks.set(id, bytes);
    await this.cluster.atPoint?.("WriteBlock", "done");
  }
}

/** Options of one start of a server on a free port of loopback. */
async function serve(
  tables: readonly ServiceTable[],
  onPort: (port: number) => void,
): Promise<GrpcServer> {
  const sasl = new SaslAuthentication({
    impersonation: new Map(),
    groupsOf: async () => [],
    staleMs: 3_600_000,
    nowMs: () => performance.now(),
  });
  const server = new GrpcServer({ authenticator: sasl, messageBytesMax: 8 * 1024 * 1024 });
  for (const table of [sasl.table(), ...tables]) server.addService(table);
  onPort(await server.listen("127.0.0.1", 0));
  return server;
}

export class FakeCluster {
  readonly ufs = new Map<string, Buffer>();
  readonly files = new Map<string, FakeFile>();
  readonly workers: FakeWorker[] = [];
  readonly masterPorts: number[] = [];
  /** Operation ids in the order of the calls, by method. */
  readonly operations: { readonly method: string; readonly id: string }[] = [];
  /** Which master leads; -1: none. */
  leader = 0;
  /** The next call of this method is done and its answer lost. */
  loseAnswerOf: string | null = null;
  /** Waited for at points of a call of this method: when it came and nothing is done, and before its answer leaves. */
  atPoint: ((method: string, point: "came" | "done") => Promise<void> | undefined) | null = null;
  readonly #results = new Map<string, unknown>();
  readonly #servers: GrpcServer[] = [];
  #nextContainer = 1n;

  static async start(shape: { masters: number; workers: readonly string[] }): Promise<FakeCluster> {
    const cluster = new FakeCluster();
    cluster.files.set("/", cluster.#newFile(true, 0));
    for (let index = 0; index < shape.masters; index++)
      cluster.#servers.push(
        await serve(cluster.#masterTables(index), (port) => cluster.masterPorts.push(port)),
      );
    for (const name of shape.workers) {
      const worker = new FakeWorker(cluster, name);
      await worker.start();
      cluster.workers.push(worker);
    }
    return cluster;
  }

  get masters(): string[] {
    return this.masterPorts.map((port) => `127.0.0.1:${port}`);
  }

  worker(name: string): FakeWorker {
    const found = this.workers.find((one) => one.name === name);
    if (found === undefined) throw new Error(`No worker ${name}`);
    return found;
  }

  async stop(): Promise<void> {
    await Promise.all([
      ...this.#servers.map((server) => server.close(0)),
      ...this.workers.map((worker) => worker.stop()),
    ]);
  }

  /** A persisted file that no worker holds. */
  addUfsFile(path: string, bytes: Buffer, blockSizeBytes: number): void {
    const file = this.#newFile(false, blockSizeBytes);
    this.ufs.set(`/ufs${path}`, bytes);
    this.#finish(file, bytes.length);
    file.isPersisted = true;
    this.files.set(path, file);
  }

  #newFile(isDirectory: boolean, blockSizeBytes: number): FakeFile {
    const container = this.#nextContainer++;
    return {
      id: (container << 24n) | 0xff_ffffn,
      isDirectory,
      blockSizeBytes,
      blocks: [],
      lengthBytes: 0,
      isCompleted: isDirectory,
      isPersisted: false,
      wantsPersist: false,
    };
  }

  #finish(file: FakeFile, lengthBytes: number): void {
    const count = Math.ceil(lengthBytes / file.blockSizeBytes);
    const container = file.id >> 24n;
    file.blocks = Array.from({ length: count }, (_, at) => (container << 24n) | BigInt(at));
    file.lengthBytes = lengthBytes;
    file.isCompleted = true;
  }

  /** Of a file, itself, as masters do it. */
  #listed(path: string): readonly string[] {
    const prefix = path === "/" ? "/" : `${path}/`;
    const isChild = (name: string) =>
      name !== "/" && name.startsWith(prefix) && !name.slice(prefix.length).includes("/");
    const isFile = this.files.get(path)?.isDirectory === false;
    return isFile ? [path] : [...this.files.keys()].sort().filter(isChild);
  }

  #info(path: string): FileInfoInit {
    const file = this.files.get(path);
    if (file === undefined) throw new RockpoolError("NOT_FOUND", `Path "${path}" does not exist.`);
    return {
      fileId: file.id,
      name: path.slice(path.lastIndexOf("/") + 1),
      path,
      ufsPath: `/ufs${path}`,
      length: file.lengthBytes,
      blockSizeBytes: file.blockSizeBytes,
      completed: file.isCompleted,
      folder: file.isDirectory,
      persisted: file.isPersisted,
      persistenceState: file.isPersisted ? "PERSISTED" : "NOT_PERSISTED",
      blockIds: file.blocks,
      owner: "me",
      group: "us",
      mode: 0o644,
      fileBlockInfos: file.blocks.map((blockId, at) => ({
        offset: at * file.blockSizeBytes,
        blockInfo: {
          blockId,
          length: Math.min(file.blockSizeBytes, file.lengthBytes - at * file.blockSizeBytes),
          locations: this.#locations(blockId),
        },
      })),
    };
  }

  #locations(blockId: bigint) {
    return this.workers
      .filter((worker) => worker.blocks.has(blockId))
      .map((worker) => ({ workerId: 1n, workerAddress: worker.address, tierAlias: "MEM" }));
  }

  /** Runs a change once for each operation id, and loses its answer when the test says so. */
  #once<T>(
    method: string,
    operation:
      | {
          readonly mostSignificantBits?: bigint | undefined;
          readonly leastSignificantBits?: bigint | undefined;
        }
      | undefined,
    act: () => T,
  ): T {
    const id = `${operation?.mostSignificantBits}/${operation?.leastSignificantBits}`;
    this.operations.push({ method, id });
    const known = this.#results.get(id);
    const result = known === undefined ? act() : (known as T); // stored below under the same id
    this.#results.set(id, result);
    if (this.loseAnswerOf === method) {
      this.loseAnswerOf = null;
      throw new RockpoolError("UNAVAILABLE", "the answer was lost");
    }
    return result;
  }

  #masterTables(index: number): ServiceTable[] {
    const files = FileSystemMasterClientService.methods;
    const blocks = BlockMasterClientService.methods;
    const leading = () => {
      if (this.leader !== index)
        throw new RockpoolError("UNAVAILABLE", `Master ${index} does not lead`);
    };
    const workerInfos = () => {
      leading();
      return {
        workerInfos: this.workers.map((worker, at) => ({
          id: BigInt(at + 1),
          address: worker.address,
          state: "LIVE",
          capacityBytes: worker.capacityBytes,
          usedBytes: 0,
        })),
      };
    };
    return [
      {
        name: ServiceVersionClientService.name,
        isAuthenticated: false,
        methods: [
          unary(ServiceVersionClientService.methods.getServiceVersion, () => {
            leading();
            return { version: 2 };
          }),
        ],
      },
      {
        name: FileSystemMasterClientService.name,
        isAuthenticated: true,
        methods: [
          unary(files.GetStatus, ({ path = "" }) => {
            leading();
            return { fileInfo: this.#info(path) };
          }),
          unary(files.Exists, ({ path = "" }) => {
            leading();
            return { exists: this.files.has(path) };
          }),
          serverStream(files.ListStatus, async ({ path = "" }, out) => {
            leading();
            for (const name of this.#listed(path)) out.send({ fileInfos: [this.#info(name)] });
            if (this.loseAnswerOf !== "ListStatus") return;
            this.loseAnswerOf = null;
            throw new RockpoolError("UNAVAILABLE", "The end of the listing is lost");
          }),
          unary(files.ListStatusPartial, ({ path = "", options }) => {
            leading();
            const after = options?.startAfter ?? "";
            const names = this.#listed(path).filter(
              (name) => posix.basename(name) > after || name === path,
            );
            return { fileInfos: names.map((name) => this.#info(name)) };
          }),
          unary(files.CreateDirectory, ({ path = "", options }) => {
            leading();
            return this.#once("CreateDirectory", options?.commonOptions?.operationId, () => {
              if (this.files.has(path))
                throw new RockpoolError("ALREADY_EXISTS", `${path} already exists`);
              this.files.set(path, this.#newFile(true, 0));
              return {};
            });
          }),
          unary(files.CreateFile, async ({ path = "", options }) => {
            leading();
            await this.atPoint?.("CreateFile", "came");
            const answer = this.#once("CreateFile", options?.commonOptions?.operationId, () => {
              if (this.files.has(path))
                throw new RockpoolError("ALREADY_EXISTS", `${path} already exists`);
              this.files.set(path, this.#newFile(false, options?.blockSizeBytes ?? 0));
              return { fileInfo: this.#info(path) };
            });
            await this.atPoint?.("CreateFile", "done");
            return answer;
          }),
          unary(files.GetNewBlockIdForFile, ({ path = "" }) => {
            leading();
            const file = this.files.get(path);
            if (file === undefined)
              throw new RockpoolError("NOT_FOUND", `Path "${path}" does not exist.`);
            const id = ((file.id >> 24n) << 24n) | BigInt(file.blocks.length);
            file.blocks.push(id);
            return { id };
          }),
          unary(files.CompleteFile, async ({ path = "", options }) => {
            leading();
            await this.atPoint?.("CompleteFile", "came");
            const answer = this.#once("CompleteFile", options?.commonOptions?.operationId, () => {
              const file = this.files.get(path);
              if (file === undefined)
                throw new RockpoolError("NOT_FOUND", `Path "${path}" does not exist.`);
              const sizes = file.blocks.map(
                (id) => this.workers.map((one) => one.blocks.get(id)?.length).find(Boolean) ?? 0,
              );
              const { ufsLength } = options ?? {};
              this.#finish(file, ufsLength ?? sizes.reduce((sum, size) => sum + size, 0));
              file.isPersisted = ufsLength !== undefined;
              file.wantsPersist = options?.asyncPersistOptions !== undefined;
              return {};
            });
            await this.atPoint?.("CompleteFile", "done");
            return answer;
          }),
          unary(files.Remove, async ({ path = "", options }) => {
            leading();
            await this.atPoint?.("Remove", "came");
            const answer = this.#once("Remove", options?.commonOptions?.operationId, () => {
              if (!this.files.delete(path))
                throw new RockpoolError("NOT_FOUND", `Path "${path}" does not exist.`);
              return {};
            });
            await this.atPoint?.("Remove", "done");
            return answer;
          }),
        ],
      },
      {
        name: BlockMasterClientService.name,
        isAuthenticated: true,
        methods: [
          unary(blocks.GetWorkerInfoList, () => workerInfos()),
          unary(blocks.GetWorkerReport, () => workerInfos()),
          unary(blocks.GetBlockInfo, ({ blockId = -1n }) => {
            leading();
            return { blockInfo: { blockId, length: 0, locations: this.#locations(blockId) } };
          }),
        ],
      },
    ];
  }
}

/** Resolves when the condition holds; checks it after every turn of the loop. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}
