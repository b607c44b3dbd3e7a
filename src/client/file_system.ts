/**
 * Rockpool's client library: files in the cluster, from Node. Its users import it by src/library.ts, as `rockpool/client`.
 *
 * Calls go to the leading master, wherever it is: a change of the leader is waited out within a
 * call's time budget, and a change that was applied before its answer was lost is not applied twice.
 * Failures are RockpoolErrors; test their `status`, show their `message` and `remedy`.
 *
 *     import { FileSystem } from "rockpool/client";
 *     const files = await FileSystem.connect({ masters: "alluxio://localhost:19998/" });
 *     await files.writeFile("/greeting", "hello");
 *     for await (const status of files.listStatus("/")) console.log(status.path);
 *     await files.close();
 * @module
 */
import { hostname, userInfo } from "node:os";
import type { Readable } from "node:stream";
import { finished } from "node:stream/promises";
import { isRockpoolError, RockpoolError } from "../common/errors.ts";
import type { WorkerNetAddress } from "../common/file_facts.ts";
import { type Path, parsePath } from "../common/path.ts";
import type { Credentials } from "../rpc/channel.ts";
import type { MasterInquiry } from "../rpc/master_channel.ts";
import { nodeWorld } from "../world/node_world.ts";
import {
  configuredMasters,
  type PropertyReader,
  parseAuthority,
  parseUri,
  resolveMasters,
} from "./authority.ts";
import { ClusterAdmin } from "./cluster_admin.ts";
import { ClusterDefaults, type DefaultsAtPath } from "./cluster_defaults.ts";
import { connectMasters, connectWorkers } from "./connections.ts";
import {
  type ClientContext,
  DEFAULT_PATIENCE,
  type Patience,
  throwIfAborted,
  WorkerDirectory,
  within,
} from "./context.ts";
import { FileOutStream } from "./file_out_stream.ts";
import type {
  ClusterInfo,
  FileStatus,
  MountPoint,
  ReadType,
  TtlAction,
  WorkerStatus,
  WriteType,
} from "./file_status.ts";
import { storesInUfs } from "./file_status.ts";
import { type Attributes, type LoadMetadata, MasterClient, type Signal } from "./master_client.ts";
import { OpenedFile, type ReadRange } from "./opened_file.ts";
import type { MasterPort, WorkerPort } from "./ports.ts";
import { ReplayMemory } from "./replay_memory.ts";

// biome-ignore lint/performance/noBarrelFile: this file is the package's entry, users import these words from it
export { isRockpoolError, RockpoolError } from "../common/errors.ts";
export type { MasterInquiry } from "../rpc/master_channel.ts";
export type {
  ClusterInfo,
  FileStatus,
  MountPoint,
  ReadType,
  TtlAction,
  WorkerStatus,
  WriteType,
} from "./file_status.ts";
export type { Attributes, LoadMetadata } from "./master_client.ts";
export type { ReadRange } from "./opened_file.ts";

/** Every call may be given up: it then fails with CANCELLED. */
export type CallOptions = { readonly signal?: AbortSignal };

export type ConnectOptions = {
  /**
   * Addresses ("host:port"), or one URI or authority: "alluxio://h1:19998,h2:19998/", "h:19998"; "zk@h1:2181,h2:2181" asks
   * ZooKeeper, "alluxio:///" goes where `property` says; or somebody who finds the masters.
   */
  readonly masters: string | readonly string[] | MasterInquiry;
  /** Who calls; the operating system's user when left out. */
  readonly user?: string;
  /** SIMPLE names the user; NOSASL is for clusters that serve without logins. */
  readonly authentication?: "SIMPLE" | "NOSASL";
  /** Time budget of a call to the masters, over all its retries. */
  readonly callTimeoutMs?: number;
  readonly writeType?: WriteType;
  readonly readType?: ReadType;
  readonly blockSizeBytes?: number;
  /** Taken off the modes of new files and directories. */
  readonly umask?: number;
  /** More of what this client's own configuration says; the options above are stronger. */
  readonly defaults?: DefaultsAtPath;
  /** Take what the masters give as defaults, of the cluster and of paths, for what is not set here; true when left out. */
  readonly clusterDefaults?: boolean;
  /** This host's name as workers know it, to prefer a local one. */
  readonly hostName?: string;
  readonly patience?: Partial<Patience>;
  /**
   * Looks up what a logical name (`ebj@name`, `zk@name`) stands for, where `alluxio:///` is (`alluxio.zookeeper.enabled` and `.address`, or
   * `alluxio.master.rpc.addresses`), and `alluxio.zookeeper.*` of who asks ZooKeeper.
   */
  readonly property?: PropertyReader;
};

export type CreateDirectoryOptions = CallOptions & {
  readonly isRecursive?: boolean;
  readonly allowExists?: boolean;
  /** Posix bits; the umask is not applied to it. */
  readonly mode?: number;
  readonly writeType?: WriteType;
};

export type CreateFileOptions = CallOptions & {
  /** Makes missing parents; true when left out. */
  readonly isRecursive?: boolean;
  /** Replaces a file of that name. */
  readonly isOverwrite?: boolean;
  readonly mode?: number;
  readonly blockSizeBytes?: number;
  readonly writeType?: WriteType;
  readonly replicationMin?: number;
  readonly replicationMax?: number;
  readonly ttlMs?: number;
  readonly ttlAction?: TtlAction;
};

export type ListOptions = CallOptions & {
  readonly isRecursive?: boolean;
  readonly loadMetadata?: LoadMetadata;
};

export type RemoveOptions = CallOptions & {
  readonly isRecursive?: boolean;
  /** Forgets it here and leaves the under store alone. */
  readonly isAlluxioOnly?: boolean;
  /** Does not ask whether the under store has more than is known here. */
  readonly isUnchecked?: boolean;
};

/** Alluxio's `alluxio.user.rpc.retry.max.duration`. */
const CALL_TIMEOUT_MS = 120_000;
const BLOCK_SIZE_BYTES = 64 * 1024 * 1024;
const UMASK = 0o022;
/** `close()` waits this long for requests that only fill caches. */
const BACKGROUND_MS = 1000;

/** Where neither the caller nor the masters say anything. */
const BUILT_IN = {
  writeType: "ASYNC_THROUGH",
  readType: "CACHE",
  blockSizeBytes: BLOCK_SIZE_BYTES,
  umask: UMASK,
  replicationMin: 0,
  replicationMax: -1,
  ttlMs: -1,
  ttlAction: "FREE",
} as const satisfies Required<DefaultsAtPath>;
type Defaults = Readonly<Required<DefaultsAtPath>>;

/** Makes somebody who asks the ZooKeeper at "host1:2181,host2:2181" where the masters are. */
export type ZooKeeperAsker = (connect: string, property: PropertyReader) => MasterInquiry;

/** What the connection to the masters begins with. */
function mastersOf(options: ConnectOptions, askZooKeeper: ZooKeeperAsker | null) {
  const { masters, property = () => undefined } = options;
  if (typeof masters === "function") return { addresses: [], inquire: masters };
  const text = typeof masters === "string" ? masters : masters.join(",");
  const authority = text.includes("://") ? parseUri(text).authority : parseAuthority(text);
  const place = resolveMasters(authority, configuredMasters(property), property);
  if (place.kind === "addresses") return { addresses: place.addresses };
  if (askZooKeeper !== null)
    return { addresses: [], inquire: askZooKeeper(place.connect, property) };
  throw new RockpoolError(
    "INVALID_ARGUMENT",
    `This program does not ask ZooKeeper (${place.connect}) where the masters are`,
    "Name them: host1:19998,host2:19998",
  );
}

/** Resolves once a stream that was destroyed has cleaned up. */
async function closed(stream: FileOutStream): Promise<void> {
  if (stream.closed) return;
  stream.on("error", () => undefined); // the caller is told by `fate`
  await new Promise<void>((resolve) => stream.once("close", resolve));
}

function mayBeThere(path: string): RockpoolError {
  return new RockpoolError(
    "UNKNOWN",
    `Cannot tell whether an incomplete file was left at ${path}: the masters did not answer`,
    `Look with fs ls ${path}`,
  );
}

function signalOf(options: CallOptions): AbortSignal | null {
  return options.signal ?? null;
}

/** A cluster's files. Safe for any number of calls at once. */
export class FileSystem {
  readonly #context: ClientContext;
  /** What the options of the connection say. */
  readonly #given: DefaultsAtPath;
  readonly #clusterDefaults: ClusterDefaults | null;
  readonly #background: Set<Promise<unknown>>;
  /** For administrators. */
  readonly admin: ClusterAdmin;

  protected constructor(
    context: ClientContext,
    defaults: { readonly given: DefaultsAtPath; readonly cluster: ClusterDefaults | null },
    background: Set<Promise<unknown>>,
    admin: ClusterAdmin,
  ) {
    this.admin = admin;
    this.#context = context;
    this.#given = defaults.given;
    this.#clusterDefaults = defaults.cluster;
    this.#background = background;
  }

  /**
   * Makes a client. Nothing is sent before the first call, so masters that are down show only then.
   * @param askZooKeeper null where `masters` never is ZooKeeper's
   * @throws RockpoolError INVALID_ARGUMENT when `masters` is not understood
   */
  static connect(
    options: ConnectOptions,
    askZooKeeper: ZooKeeperAsker | null = null,
  ): Promise<FileSystem> {
    // A promise, so that a bad option rejects like everything else that can go wrong here.
    return Promise.resolve().then(() => {
      const user = options.user ?? userInfo().username;
      const auth: Credentials =
        options.authentication === "NOSASL" ? { kind: "none" } : { kind: "simple", user };
      const masterPort = connectMasters({
        ...mastersOf(options, askZooKeeper),
        auth,
        callTimeoutMs: options.callTimeoutMs ?? CALL_TIMEOUT_MS,
      });
      const { clusterDefaults = true } = options;
      const given = { ...options, user, clusterDefaults };
      return FileSystem.over(given, masterPort, connectWorkers({ auth }));
    });
  }

  /** A client over given connections; it asks for no defaults unless told to. */
  static over(
    options: Omit<ConnectOptions, "masters">,
    masterPort: MasterPort,
    workerPort: WorkerPort,
  ): FileSystem {
    const master = new MasterClient(masterPort);
    const background = new Set<Promise<unknown>>();
    const here = new Set([options.hostName ?? hostname(), "localhost", "127.0.0.1"]);
    const context: ClientContext = {
      master,
      workerPort,
      workers: new WorkerDirectory(master),
      here,
      random: nodeWorld().random,
      patience: { ...DEFAULT_PATIENCE, ...options.patience },
      user: options.user ?? userInfo().username,
      replayMemory: new ReplayMemory(),
      inBackground(work) {
        // A cache that was not filled is no failure of the read that suggested it.
        const settled = work.then(
          () => undefined,
          () => undefined,
        );
        background.add(settled);
        void settled.then(() => background.delete(settled));
      },
    };
    const { writeType, readType, blockSizeBytes, umask } = options;
    const given: DefaultsAtPath = {
      ...options.defaults,
      ...(writeType === undefined ? {} : { writeType }),
      ...(readType === undefined ? {} : { readType }),
      ...(blockSizeBytes === undefined ? {} : { blockSizeBytes }),
      ...(umask === undefined ? {} : { umask }),
    };
    const cluster = options.clusterDefaults === true ? new ClusterDefaults(master) : null;
    return new FileSystem(
      context,
      { given, cluster },
      background,
      new ClusterAdmin(masterPort, workerPort),
    );
  }

  /** The connection's options, then the masters' defaults for the path, then the built-in ones. */
  async #defaultsAt(path: string, signal: Signal): Promise<Defaults> {
    const theirs = await this.#clusterDefaults?.at(parsePath(path), signal);
    return { ...BUILT_IN, ...theirs, ...this.#given };
  }

  /** @throws RockpoolError NOT_FOUND */
  async getStatus(
    path: string,
    options: CallOptions & { readonly loadMetadata?: LoadMetadata } = {},
  ): Promise<FileStatus> {
    const { loadMetadata = "ONCE" } = options;
    return this.#context.master.getStatus(parsePath(path), { loadMetadata }, signalOf(options));
  }

  async exists(path: string, options: CallOptions = {}): Promise<boolean> {
    return this.#context.master.exists(parsePath(path), signalOf(options));
  }

  /**
   * The children of a directory in order of their names; of a file, itself.
   * They are fetched as they are asked for, so a large directory takes no large memory.
   */
  async *listStatus(path: string, options: ListOptions = {}): AsyncGenerator<FileStatus> {
    const { isRecursive = false, loadMetadata = "ONCE" } = options;
    const wanted = { isRecursive, loadMetadata };
    yield* this.#context.master.listStatus(parsePath(path), wanted, signalOf(options));
  }

  /** @throws RockpoolError ALREADY_EXISTS; NOT_FOUND when the parent is missing and not `isRecursive` */
  async createDirectory(path: string, options: CreateDirectoryOptions = {}): Promise<void> {
    const { isRecursive = true, allowExists = false } = options;
    const defaults = await this.#defaultsAt(path, signalOf(options));
    const mode = options.mode ?? 0o777 & ~defaults.umask;
    const isPersisted = storesInUfs(options.writeType ?? defaults.writeType);
    const wanted = { isRecursive, allowExists, mode, isPersisted };
    await this.#context.master.createDirectory(parsePath(path), wanted, signalOf(options));
  }

  /**
   * Makes a file and gives the stream that fills it.
   *
   *     const out = await files.createFile("/log", { writeType: "CACHE_THROUGH" });
   *     await pipeline(createReadStream("local.log"), out);
   *
   * A signal that fires before the last byte was given leaves no file, also when it fires while the file is made.
   * @throws RockpoolError ALREADY_EXISTS unless `isOverwrite`; UNKNOWN when the signal fired and it is not known whether
   *   the file was made
   */
  async createFile(path: string, options: CreateFileOptions = {}): Promise<FileOutStream> {
    const signal = signalOf(options);
    const defaults = await this.#defaultsAt(path, signal);
    const writeType = options.writeType ?? defaults.writeType;
    const status = await this.#context.master.createFile(
      parsePath(path),
      {
        isRecursive: options.isRecursive ?? true,
        isOverwrite: options.isOverwrite ?? false,
        mode: options.mode ?? 0o666 & ~defaults.umask,
        blockSizeBytes: options.blockSizeBytes ?? defaults.blockSizeBytes,
        writeType,
        replicationMin: options.replicationMin ?? defaults.replicationMin,
        replicationMax: options.replicationMax ?? defaults.replicationMax,
        ttlMs: options.ttlMs ?? defaults.ttlMs,
        ttlAction: options.ttlAction ?? defaults.ttlAction,
      },
      signal,
      this.#context.patience.settleMs,
    );
    const out = new FileOutStream(this.#context, status, { writeType, signal });
    if (signal?.aborted === true) {
      // Given up while the master made it.
      await closed(out);
      if (out.fate === "unknown") throw mayBeThere(status.path);
      throwIfAborted(signal);
    }
    return out;
  }

  /** Writes a whole file. A signal that fires while it is being completed comes too late. @throws as `createFile` */
  async writeFile(
    path: string,
    content: string | Uint8Array,
    options: CreateFileOptions = {},
  ): Promise<void> {
    const out = await this.createFile(path, options);
    out.end(content);
    try {
      await finished(out);
    } catch (error) {
      await closed(out);
      const isGivenUp = options.signal?.aborted === true;
      if (isGivenUp && out.fate === "complete") return;
      throw isGivenUp && out.fate === "unknown" ? mayBeThere(out.status.path) : error;
    }
  }

  /**
   * Opens a file to read it as a stream or at positions.
   * @throws RockpoolError NOT_FOUND; FAILED_PRECONDITION for a directory or a file still being written
   */
  async openFile(
    path: string,
    options: CallOptions & { readonly readType?: ReadType } = {},
  ): Promise<OpenedFile> {
    const status = await this.#context.master.getStatus(
      parsePath(path),
      { loadMetadata: "ONCE", accessBits: 4 },
      signalOf(options),
    );
    if (status.isDirectory)
      throw new RockpoolError(
        "FAILED_PRECONDITION",
        `Cannot read ${path}: it is a directory`,
        "Name a file",
      );
    if (!status.isCompleted)
      throw new RockpoolError(
        "FAILED_PRECONDITION",
        `Cannot read ${path}: it is being written`,
        "Wait until its writer has closed it",
      );
    const readType = options.readType ?? (await this.#defaultsAt(path, signalOf(options))).readType;
    return new OpenedFile(this.#context, status, readType);
  }

  /** A file whose status the caller has from the masters, and may read. */
  openKnown(status: FileStatus, readType: ReadType = BUILT_IN.readType): OpenedFile {
    return new OpenedFile(this.#context, status, readType);
  }

  /** A file's bytes as a stream. */
  async createReadStream(
    path: string,
    options: ReadRange & { readonly readType?: ReadType } = {},
  ): Promise<Readable> {
    return (await this.openFile(path, options)).stream(options);
  }

  /** Reads a whole file; for files that fit in memory. */
  async readFile(
    path: string,
    options: CallOptions & { readonly readType?: ReadType } = {},
  ): Promise<Uint8Array> {
    const file = await this.openFile(path, options);
    return file.readAt(0, file.lengthBytes, options);
  }

  /** @throws RockpoolError NOT_FOUND; ALREADY_EXISTS when `to` exists and not `isOverwrite` */
  async rename(
    from: string,
    to: string,
    options: CallOptions & { readonly isOverwrite?: boolean } = {},
  ): Promise<void> {
    const { isOverwrite = false } = options;
    const { master } = this.#context;
    await master.rename(parsePath(from), parsePath(to), isOverwrite, signalOf(options));
  }

  /** @throws RockpoolError NOT_FOUND; FAILED_PRECONDITION for a directory with children, unless `isRecursive` */
  async delete(path: string, options: RemoveOptions = {}): Promise<void> {
    const { isRecursive = false, isAlluxioOnly = false, isUnchecked = false } = options;
    const wanted = { isRecursive, isAlluxioOnly, isUnchecked };
    await this.#context.master.remove(parsePath(path), wanted, signalOf(options));
  }

  async setAttribute(
    path: string,
    attributes: Attributes,
    options: CallOptions & { readonly isRecursive?: boolean } = {},
  ): Promise<void> {
    const checked: Path = parsePath(path);
    const { isRecursive = false } = options;
    await this.#context.master.setAttribute(checked, attributes, isRecursive, signalOf(options));
  }

  /** Has a file copied to the under store; returns when the intent is durable, not when it is done. */
  async persist(path: string, options: CallOptions = {}): Promise<void> {
    await this.#context.master.scheduleAsyncPersistence(parsePath(path), signalOf(options));
  }

  /**
   * Has workers drop their copies of the files at and below a path, within about a second.
   * @throws RockpoolError FAILED_PRECONDITION for a file that is not persisted, or pinned and not `isForced`: then nothing is freed
   */
  async free(
    path: string,
    options: CallOptions & { readonly isForced?: boolean } = {},
  ): Promise<void> {
    await this.#context.master.free(parsePath(path), options.isForced ?? false, signalOf(options));
  }

  /** Paths at and below one that are not in the under store as they are in the cluster. */
  async checkConsistency(path: string, options: CallOptions = {}): Promise<readonly string[]> {
    return this.#context.master.checkConsistency(parsePath(path), signalOf(options));
  }

  async getMountTable(options: CallOptions = {}): Promise<readonly MountPoint[]> {
    return this.#context.master.mountPoints(signalOf(options));
  }

  /** Live workers. */
  async workers(options: CallOptions = {}): Promise<readonly WorkerStatus[]> {
    return this.#context.master.workers(signalOf(options));
  }

  /** Live and lost workers; the live ones alone when the masters offer no report. */
  async workerReport(options: CallOptions = {}): Promise<readonly WorkerStatus[]> {
    try {
      return await this.#context.master.workerReport(signalOf(options));
    } catch (error) {
      if (!isRockpoolError(error, "UNIMPLEMENTED")) throw error;
      return this.workers(options);
    }
  }

  async clusterInfo(options: CallOptions = {}): Promise<ClusterInfo> {
    return this.#context.master.clusterInfo(signalOf(options));
  }

  /** The path of a file id. @throws RockpoolError NOT_FOUND */
  async pathOf(fileId: bigint, options: CallOptions = {}): Promise<string> {
    return this.#context.master.pathOf(fileId, signalOf(options));
  }

  /** The leading master's configuration: value and source by key. */
  async configuration(options: CallOptions = {}) {
    return this.#context.master.configuration(signalOf(options));
  }

  /** What the masters give as defaults to all their clients, and below paths. */
  async masterDefaults(options: CallOptions = {}) {
    return this.#context.master.defaults(signalOf(options));
  }

  /** Sets what clients take as defaults below a path. @throws RockpoolError PERMISSION_DENIED; INVALID_ARGUMENT */
  async setPathDefaults(
    path: string,
    properties: ReadonlyMap<string, string>,
    options: CallOptions = {},
  ): Promise<void> {
    await this.#context.master.setPathDefaults(parsePath(path), properties, signalOf(options));
  }

  /** Takes defaults of a path away, all of them when no key is named. @throws RockpoolError NOT_FOUND */
  async removePathDefaults(
    path: string,
    keys: readonly string[],
    options: CallOptions = {},
  ): Promise<void> {
    await this.#context.master.removePathDefaults(parsePath(path), keys, signalOf(options));
  }

  /** What masters and workers have reported of their configurations, the leader's first. */
  async nodeConfigurations(options: CallOptions = {}) {
    return this.#context.master.nodeConfigurations(signalOf(options));
  }

  /** Directories of workers that failed. */
  async lostStorage(options: CallOptions = {}) {
    return this.#context.master.lostStorage(signalOf(options));
  }

  /**
   * The same client, which writes to and reads by way of certain workers alone: "host", or "host:rpcPort".
   * What none of them holds it reads by way of those that do. It is closed with the client that it came from.
   */
  onWorkers(names: readonly string[]): FileSystem {
    const { master } = this.#context;
    const isWanted = ({ host, rpcPort }: WorkerNetAddress) =>
      names.includes(host) || names.includes(`${host}:${rpcPort}`);
    const workers = new WorkerDirectory(master, isWanted);
    const defaults = { given: this.#given, cluster: this.#clusterDefaults };
    return new FileSystem({ ...this.#context, workers }, defaults, this.#background, this.admin);
  }

  /** "host:port" of the master that answered last; null before the first call. */
  leaderAddress(): string | null {
    return this.#context.master.leaderAddress();
  }

  /** Closes every connection; streams that are still open break. */
  async close(): Promise<void> {
    try {
      await within(Promise.all(this.#background), BACKGROUND_MS, "Filling caches");
    } catch (error) {
      if (!isRockpoolError(error, "DEADLINE_EXCEEDED")) throw error;
    }
    await Promise.all([this.#context.master.close(), this.#context.workerPort.close()]);
  }
}
