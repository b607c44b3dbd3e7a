/**
 * One client of a chaos run: does operations one after the other and records each.
 *
 * Partitions change with time (`epochMs`): a partition stays small enough to be judged, and what it held at
 * its end must still be there when the run is over. Within a partition all clients use the same few names, so that they
 * meet; contents are written under names that nobody else makes (`w…`), because a file is written by path.
 * A client that does not know what became of its change leaves that partition alone until the next epoch.
 * @module
 */
import { setTimeout as delay } from "node:timers/promises";
import { connectMasters } from "../../src/client/connections.ts";
import type { FileOutStream } from "../../src/client/file_out_stream.ts";
import type { WriteType } from "../../src/client/file_status.ts";
import { FileSystem } from "../../src/client/file_system.ts";
import { MasterClient } from "../../src/client/master_client.ts";
import { messageOf, RockpoolError } from "../../src/common/errors.ts";
import { type Path, parsePath } from "../../src/common/path.ts";
import { contentOf, nameOfContent } from "./content.ts";
import {
  type HistoryWriter,
  nowNs,
  type Operation,
  type OperationKind,
  READS,
  REFUSALS,
  type Seen,
} from "./history.ts";
import type { Chance } from "./random.ts";

export const ROOT = "/chaos";
/** Where files are that nobody changes after they were written. */
export const KEPT = "keep";

export type WorkloadOptions = {
  readonly client: number;
  readonly masters: readonly string[];
  readonly user: string;
  readonly chance: Chance;
  readonly history: HistoryWriter;
  /** On the clock of `nowNs`. */
  readonly beganNs: number;
  readonly epochMs: number;
  readonly partitionsPerEpoch: number;
  readonly callTimeoutMs: number;
  /** Longest pause between two operations. */
  readonly thinkMs: number;
  /** After so many operations it connects anew: it may find another leader than those who hold on to theirs. */
  readonly operationsPerConnection: number;
  /** It never waits for a change, so it goes on asking a leader that cannot change anything any more. */
  readonly onlyReads: boolean;
};

type Facts = Partial<Omit<Operation, "client" | "kind" | "start" | "end" | "result">>;
type Wanted = Facts & { readonly partition: string; readonly path: string };

const DIRECTORIES = ["d0", "d1", "d2"];
const LEAVES = ["a", "b", "c", "d0", "d1", "d2"];
const BLOCK_SIZE_BYTES = 1024 * 1024;

const WEIGHTS: readonly (readonly [OperationKind | "keep", number])[] = [
  ["mkdir", 14],
  ["create", 10],
  ["complete", 4],
  ["delete", 13],
  ["rename", 13],
  ["stat", 14],
  ["exists", 6],
  ["list", 9],
  ["write", 6],
  ["read", 8],
  ["keep", 3],
];

/** What is in the under store may come into being without its client: that is for files that nobody touches. */
const KEPT_WRITE_TYPES: readonly (readonly [WriteType, number])[] = [
  ["MUST_CACHE", 4],
  ["CACHE_THROUGH", 2],
  ["ASYNC_THROUGH", 2],
  ["THROUGH", 1],
];

const READ_WEIGHTS: typeof WEIGHTS = [
  ["stat", 4],
  ["exists", 4],
  ["list", 3],
];

function pathOf(partition: string, path: string): Path {
  return parsePath(`${ROOT}/${partition}${path === "" ? "" : `/${path}`}`);
}

/** A client's connections. */
export class Connection {
  readonly #files: Promise<FileSystem>;
  /** What goes to the masters alone. */
  readonly master: MasterClient;

  constructor(masters: readonly string[], user: string, callTimeoutMs: number) {
    const auth = { kind: "simple", user } as const;
    this.master = new MasterClient(connectMasters({ addresses: masters, auth, callTimeoutMs }));
    this.#files = FileSystem.connect({
      masters,
      user,
      callTimeoutMs,
      writeType: "MUST_CACHE",
      blockSizeBytes: BLOCK_SIZE_BYTES,
      // Longer than a worker's restart; a client that waits longer only shortens the history.
      patience: { streamStallMs: 10_000, commitMs: 20_000, workerSearchMs: 20_000 },
    });
  }

  /** What goes to the masters and the workers. */
  files(): Promise<FileSystem> {
    return this.#files;
  }

  async close(): Promise<void> {
    await (await this.#files).close();
    await this.master.close();
  }

  async createFile(path: Path): Promise<string> {
    const options = {
      isRecursive: false,
      isOverwrite: false,
      mode: 0o644,
      blockSizeBytes: BLOCK_SIZE_BYTES,
      writeType: "MUST_CACHE",
      replicationMin: 0,
      replicationMax: -1,
      ttlMs: -1,
      ttlAction: "FREE",
    } as const;
    return String((await this.master.createFile(path, options, null, 0)).id);
  }

  async list(path: Path): Promise<Seen[]> {
    const seen: Seen[] = [];
    const options = { isRecursive: false, loadMetadata: "NEVER" } as const;
    for await (const { name, id, isDirectory, isCompleted } of this.master.listStatus(
      path,
      options,
      null,
    ))
      seen.push({ name, id: String(id), isDirectory, isCompleted });
    return seen;
  }
}

/** Records one operation around what it does. */
export class Recorder {
  readonly #history: HistoryWriter;
  readonly #client: number;
  readonly #beganNs: number;
  /** Changes that were acknowledged so far. */
  acknowledged = 0;

  constructor(options: Pick<WorkloadOptions, "history" | "client" | "beganNs">) {
    this.#history = options.history;
    this.#client = options.client;
    this.#beganNs = options.beganNs;
  }

  nowNs(): number {
    return nowNs() - this.#beganNs;
  }

  add(operation: Omit<Operation, "client">): void {
    this.#history.add({ client: this.#client, ...operation });
  }

  /** @returns the result as it was recorded */
  async run(kind: OperationKind, wanted: Wanted, act: () => Promise<Facts>): Promise<string> {
    const start = this.nowNs();
    const record = (result: string, facts: Facts) => {
      const end = this.nowNs();
      this.add({ kind, ...wanted, ...facts, start, end, result });
      if (result === "ok" && !READS.has(kind)) this.acknowledged += 1;
      return result;
    };
    try {
      return record("ok", await act());
    } catch (error) {
      if (!(error instanceof RockpoolError)) throw error;
      if (REFUSALS.has(error.status)) return record(error.status, {});
      return record("unknown", { error: `${error.status}: ${messageOf(error)}` });
    }
  }
}

export class Workload {
  readonly #options: WorkloadOptions;
  readonly #chance: Chance;
  #connection: Connection;
  #operationsLeft: number;
  readonly #recorder: Recorder;
  #epoch = -1;
  /** Partitions of this epoch that may be used. */
  #partitions: string[] = [];
  readonly #prepared = new Set<string>();
  #written: { readonly partition: string; readonly path: string }[] = [];
  #counter = 0;
  #isStopped = false;

  constructor(options: WorkloadOptions) {
    this.#options = options;
    this.#chance = options.chance;
    this.#connection = this.#connect();
    this.#operationsLeft = options.operationsPerConnection;
    this.#recorder = new Recorder(options);
  }

  get acknowledged(): number {
    return this.#recorder.acknowledged;
  }

  stop(): void {
    this.#isStopped = true;
  }

  async run(): Promise<void> {
    while (!this.#isStopped) {
      this.#enterEpoch();
      await this.#reconnect();
      const kind = this.#chance.weighted(this.#options.onlyReads ? READ_WEIGHTS : WEIGHTS);
      if (kind === "keep") await this.#keep();
      else if (this.#partitions.length > 0) await this.#step(kind);
      await delay(this.#chance.unit() * this.#options.thinkMs);
    }
    await this.#connection.close();
  }

  #connect(): Connection {
    const { masters, user, callTimeoutMs } = this.#options;
    return new Connection(masters, user, callTimeoutMs);
  }

  async #reconnect(): Promise<void> {
    this.#operationsLeft -= 1;
    if (this.#operationsLeft > 0) return;
    this.#operationsLeft = this.#options.operationsPerConnection;
    const old = this.#connection;
    this.#connection = this.#connect();
    await old.close();
  }

  #enterEpoch(): void {
    const { epochMs, partitionsPerEpoch } = this.#options;
    const epoch = Math.floor(this.#recorder.nowNs() / 1e6 / epochMs);
    if (epoch === this.#epoch) return;
    this.#epoch = epoch;
    this.#partitions = Array.from({ length: partitionsPerEpoch }, (_, k) => `e${epoch}-${k}`);
    this.#written = [];
  }

  /** Makes a folder that no operation of the history touches. */
  async #prepare(partition: string): Promise<boolean> {
    if (this.#prepared.has(partition)) return true;
    const options = { isRecursive: true, allowExists: true, mode: 0o755, isPersisted: false };
    try {
      await this.#connection.master.createDirectory(pathOf(partition, ""), options, null);
    } catch (error) {
      if (!(error instanceof RockpoolError)) throw error;
      return false;
    }
    this.#prepared.add(partition);
    return true;
  }

  async #step(kind: OperationKind): Promise<void> {
    const partition = this.#chance.pick(this.#partitions);
    if (!(await this.#prepare(partition))) return;
    const result = await this.#act(kind, partition);
    if (result === "unknown" && !READS.has(kind))
      this.#partitions = this.#partitions.filter((one) => one !== partition);
  }

  #act(kind: OperationKind, partition: string): Promise<string> {
    const path = this.#somePath();
    switch (kind) {
      case "mkdir":
        return this.#mkdir(
          partition,
          this.#chance.oneIn(2) ? this.#chance.pick(DIRECTORIES) : path,
        );
      case "create":
        return this.#create(partition, path);
      case "complete":
        return this.#complete(partition, path);
      case "delete":
        return this.#delete(partition, this.#chance.oneIn(4) ? this.#knownPath(partition) : path);
      case "rename":
        return this.#rename(partition, path);
      case "stat":
        return this.#stat(partition, this.#knownPath(partition));
      case "exists":
        return this.#exists(partition, path);
      case "list":
        return this.#list(partition, this.#chance.pick(["", "", ...DIRECTORIES, "d0/d1", "a"]));
      case "write":
        return this.#write(partition);
      case "read":
        return this.#read(partition, this.#knownPath(partition));
      case "giveUp":
        throw new Error("A client gives up only what it writes");
    }
  }

  #somePath(): string {
    const leaf = this.#chance.pick(LEAVES);
    if (this.#chance.oneIn(2)) return leaf;
    const directory = this.#chance.pick(DIRECTORIES);
    return this.#chance.oneIn(6)
      ? `${directory}/${this.#chance.pick(DIRECTORIES)}/${leaf}`
      : `${directory}/${leaf}`;
  }

  /** A path that was written, or any. */
  #knownPath(partition: string): string {
    const written = this.#written.filter((one) => one.partition === partition);
    return written.length > 0 && this.#chance.oneIn(2)
      ? this.#chance.pick(written).path
      : this.#somePath();
  }

  #mkdir(partition: string, path: string): Promise<string> {
    const options = { isRecursive: false, allowExists: false, mode: 0o755, isPersisted: false };
    return this.#recorder.run("mkdir", { partition, path }, async () => {
      await this.#connection.master.createDirectory(pathOf(partition, path), options, null);
      return {};
    });
  }

  #create(partition: string, path: string): Promise<string> {
    return this.#recorder.run("create", { partition, path, content: "" }, async () => ({
      id: await this.#connection.createFile(pathOf(partition, path)),
    }));
  }

  #complete(partition: string, path: string): Promise<string> {
    const options = { ufsLengthBytes: null, isAsyncPersist: false };
    return this.#recorder.run("complete", { partition, path }, async () => {
      await this.#connection.master.completeFile(pathOf(partition, path), options, null);
      return {};
    });
  }

  #delete(partition: string, path: string): Promise<string> {
    const isRecursive = this.#chance.oneIn(2);
    return this.#recorder.run("delete", { partition, path, isRecursive }, async () => {
      const options = { isRecursive, isAlluxioOnly: false, isUnchecked: true };
      await this.#connection.master.remove(pathOf(partition, path), options, null);
      return {};
    });
  }

  #rename(partition: string, path: string): Promise<string> {
    const from = this.#chance.oneIn(3)
      ? this.#chance.pick(DIRECTORIES)
      : this.#knownPath(partition);
    return this.#recorder.run("rename", { partition, path: from, to: path }, async () => {
      await this.#connection.master.rename(
        pathOf(partition, from),
        pathOf(partition, path),
        false,
        null,
      );
      return {};
    });
  }

  #stat(partition: string, path: string): Promise<string> {
    return this.#recorder.run("stat", { partition, path }, async () => {
      const options = { loadMetadata: "NEVER" } as const;
      const status = await this.#connection.master.getStatus(
        pathOf(partition, path),
        options,
        null,
      );
      const { isDirectory, isCompleted, lengthBytes } = status;
      return { id: String(status.id), isDirectory, isCompleted, lengthBytes };
    });
  }

  #exists(partition: string, path: string): Promise<string> {
    return this.#recorder.run("exists", { partition, path }, async () => ({
      doesExist: await this.#connection.master.exists(pathOf(partition, path), null),
    }));
  }

  #list(partition: string, path: string): Promise<string> {
    return this.#recorder.run("list", { partition, path }, async () => ({
      children: await this.#connection.list(pathOf(partition, path)),
    }));
  }

  #read(partition: string, path: string): Promise<string> {
    return this.#recorder.run("read", { partition, path }, async () =>
      readContent(this.#connection, pathOf(partition, path)),
    );
  }

  /** Two operations: the file's creation, and its completion with the bytes. */
  async #write(partition: string): Promise<string> {
    const name = `w${this.#options.client}-${this.#counter++}`;
    const path = this.#chance.oneIn(2) ? name : `${this.#chance.pick(DIRECTORIES)}/${name}`;
    const content = `${partition}:${name}`;
    this.#written = [...this.#written.slice(-20), { partition, path }];
    const made: { out: FileOutStream | null } = { out: null };
    const lengthBytes = contentOf(content).length;
    const wanted = { partition, path, content, lengthBytes };
    const created = await this.#recorder.run("create", wanted, async () => {
      const files = await this.#connection.files();
      const out = await files.createFile(pathOf(partition, path), { isRecursive: false });
      made.out = out;
      return { id: String(out.status.id) };
    });
    const { out } = made;
    if (out === null) return created;
    // The master's answer tells where the file is by then: it may have been moved with its directory.
    const at = out.status.path.slice(pathOf(partition, "").length + 1);
    const start = this.#recorder.nowNs();
    const result = await this.#recorder.run("write", { partition, path: at, content }, async () => {
      await new Promise<void>((resolve, reject) => {
        out.once("error", reject);
        out.once("finish", resolve);
        out.end(contentOf(content));
      });
      return {};
    });
    if (result === "ok") return result;
    // A stream that fails takes back what it made, sooner or later.
    const end = this.#recorder.nowNs();
    this.#recorder.add({ kind: "giveUp", partition, path: at, start, end, result: "unknown" });
    return "unknown";
  }

  /** Writes a file that nobody touches again. */
  async #keep(): Promise<void> {
    const partition = `${KEPT}/${this.#options.client}`;
    if (!(await this.#prepare(partition))) return;
    const path = String(this.#counter++);
    const content = `${partition}:${path}`;
    await this.#recorder.run("write", { partition, path, content }, async () => {
      const files = await this.#connection.files();
      const options = { isRecursive: false, writeType: this.#chance.weighted(KEPT_WRITE_TYPES) };
      await files.writeFile(pathOf(partition, path), contentOf(content), options);
      return {};
    });
  }
}

/** A refusal is the file's; a failure to get at its bytes says nothing of the namespace. */
export async function readContent(connection: Connection, path: Path): Promise<Facts> {
  const file = await (await connection.files()).openFile(path);
  try {
    return { content: nameOfContent(await file.readAt(0, file.lengthBytes)) };
  } catch (error) {
    if (!(error instanceof RockpoolError)) throw error;
    throw new RockpoolError("UNAVAILABLE", `${error.status}: ${messageOf(error)}`);
  }
}
