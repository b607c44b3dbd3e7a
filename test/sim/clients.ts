/**
 * Simulated clients of the namespace. Each does one operation after the other, with an operation id, and repeats it like
 * the real client: whoever does not lead says so, the next master is asked, and after a while the client gives up. What it
 * saw and when goes into the history. Now and then it repeats what was done long ago, which must give the first result and
 * change nothing.
 * @module
 */
import { isRockpoolError } from "../../src/common/errors.ts";
import type { LogIndex } from "../../src/common/ids.ts";
import { parsePath } from "../../src/common/path.ts";
import type { CreateFileOptions, Principal } from "../../src/master/api.ts";
import type { Recorded } from "./linearizability.ts";
import type { NodeState, Operation, Outcome } from "./model.ts";
import type { MasterProcess, SimNode } from "./node.ts";
import type { SimRandom } from "./random.ts";
import { callMaster, type Reply } from "./rpc.ts";
import { Host, Lane, type Scheduler } from "./scheduler.ts";

const ROOT: Principal = { user: "root", groups: ["root"], isSuperuser: true };
const CREATE: Omit<CreateFileOptions, "isRecursive"> = {
  isOverwrite: false,
  blockSizeBytes: 100,
  mode: 0o644,
  replicationMin: 0,
  replicationMax: -1,
  ttlMs: -1,
  ttlAction: "FREE",
  xattr: {},
};
const MKDIR = { mode: 0o755, ttlMs: -1, ttlAction: "FREE", xattr: {} } as const;
const NAMES = ["a", "b", "c"];
/** On these a client goes on asking: they say nothing about the operation. */
const TRY_AGAIN = new Set<string>([
  "UNAVAILABLE",
  "DEADLINE_EXCEEDED",
  "RESOURCE_EXHAUSTED",
  "ABORTED",
]);
const READS = new Set<string>(["status", "list"]);
const BACKOFF_MAX_MS = 400;

export type ClientTraits = {
  readonly kinds: readonly Operation["kind"][];
  readonly thinkMaxMs: number;
  readonly deadlineMs: number;
  readonly patienceMs: number;
  /** Chance that something done is asked for again, later. */
  readonly repeatChance: number;
  /** Directories are also made in the under store. */
  readonly isThrough: boolean;
  readonly partitions: readonly string[];
};

export class ClientStats {
  operations = 0;
  unknown = 0;
  repeats = 0;
  longestMs = 0;
}

type Value = { readonly id: string | null; readonly seen: Outcome["seen"] };

function nodeOf(info: {
  readonly id: bigint;
  readonly isDirectory: boolean;
  readonly isCompleted: boolean;
}): NodeState {
  const { id, isDirectory, isCompleted } = info;
  return {
    kind: isDirectory ? "d" : "f",
    id: id.toString(),
    isComplete: !isDirectory && isCompleted,
  };
}

export class SimClient {
  readonly name: string;
  readonly lane: Lane;
  readonly #scheduler: Scheduler;
  readonly #random: SimRandom;
  readonly #traits: ClientTraits;
  readonly #masters: () => readonly SimNode[];
  readonly #history: Recorded[];
  readonly #stats: ClientStats;
  readonly #number: number;
  readonly #readFloor: () => LogIndex;
  readonly #onRead: (master: MasterProcess, floor: LogIndex) => void;
  readonly #kinds: readonly Operation["kind"][];
  readonly #thinkMaxMs: number;
  /** For one answer of one master. */
  readonly #deadlineMs: number;
  #operationCount = 0;
  #target = 0;
  isStopped = false;
  /** Operations under way. */
  pending: Recorded | null = null;

  constructor(parts: {
    readonly number: number;
    readonly scheduler: Scheduler;
    readonly random: SimRandom;
    readonly traits: ClientTraits;
    readonly masters: () => readonly SimNode[];
    readonly history: Recorded[];
    readonly stats: ClientStats;
    /** One of the simulator's own, which looks whether all is well. */
    readonly isPatient: boolean;
    /** What every read that is asked for now must know. */
    readonly readFloor: () => LogIndex;
    readonly onRead: (master: MasterProcess, floor: LogIndex) => void;
  }) {
    this.#number = parts.number;
    this.name = `c${parts.number}`;
    this.lane = new Lane(this.name, new Host(this.name));
    this.#scheduler = parts.scheduler;
    this.#random = parts.random;
    this.#traits = parts.traits;
    this.#masters = parts.masters;
    this.#history = parts.history;
    this.#stats = parts.stats;
    this.#readFloor = parts.readFloor;
    this.#onRead = parts.onRead;
    const { kinds, thinkMaxMs, deadlineMs } = parts.traits;
    const random = parts.random.fork("temper");
    // Some only look, often; some give up on a silent master long before others would.
    const isReader = !parts.isPatient && random.chance(0.2);
    this.#kinds = isReader ? kinds.filter((kind) => READS.has(kind)) : kinds;
    this.#thinkMaxMs = isReader ? Math.min(60, thinkMaxMs) : thinkMaxMs;
    const isHasty = !parts.isPatient && random.chance(0.4);
    this.#deadlineMs = isHasty ? random.between(40, 150) : deadlineMs;
  }

  begin(): void {
    this.#scheduler.after(this.#random.between(1, 50), this.lane, "begin", () => {
      void this.#run(); // It never rejects: every call answers.
    });
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.#scheduler.after(ms, this.lane, "sleep", resolve));
  }

  async #run(): Promise<void> {
    while (!this.isStopped) {
      await this.#sleep(this.#random.skewed(1, this.#thinkMaxMs));
      if (!this.isStopped) await this.perform(this.#choose());
    }
  }

  #path(): string {
    const top = this.#random.pick(this.#traits.partitions);
    const one = `${top}/${this.#random.pick(NAMES)}`;
    return this.#random.chance(0.5) ? one : `${one}/${this.#random.pick(NAMES)}`;
  }

  #choose(): Operation {
    const random = this.#random;
    const kind = random.pick(this.#kinds);
    const path = this.#path();
    switch (kind) {
      case "create":
        return { kind, path, isRecursive: random.chance(0.5) };
      case "mkdir":
        return { kind, path, isRecursive: random.chance(0.5), allowExists: random.chance(0.3) };
      case "remove":
        return { kind, path, isRecursive: random.chance(0.7) };
      case "rename": {
        const top = path.slice(0, path.indexOf("/", 1));
        const to = `${top}/${random.pick(NAMES)}`;
        return { kind, path, to: random.chance(0.4) ? `${to}/${random.pick(NAMES)}` : to };
      }
      case "list":
        return { kind, path: random.chance(0.5) ? path : path.slice(0, path.indexOf("/", 1)) };
      default:
        return { kind, path };
    }
  }

  /** One operation, as often as it takes. */
  async perform(operation: Operation): Promise<Reply<Value> | null> {
    this.#operationCount += 1;
    const operationId = { high: BigInt(this.#number), low: BigInt(this.#operationCount) };
    const calledMs = this.#scheduler.nowMs;
    const call = { client: this.name, operation, calledMs };
    this.pending = { ...call, returnedMs: Number.POSITIVE_INFINITY, outcome: null };
    const isRead = READS.has(operation.kind);
    const reply = await this.#repeated(calledMs, (master) =>
      isRead
        ? this.#read(master, operation, operationId)
        : this.#carryOut(master, operation, operationId),
    );
    this.pending = null;
    this.#stats.operations += 1;
    const returnedMs = this.#scheduler.nowMs;
    if (reply === null) {
      this.#stats.unknown += 1;
      this.#history.push({ ...call, returnedMs: Number.POSITIVE_INFINITY, outcome: null });
      return null;
    }
    this.#stats.longestMs = Math.max(this.#stats.longestMs, returnedMs - calledMs);
    const status = reply.kind === "ok" ? "ok" : reply.status;
    const seen = reply.kind === "ok" ? reply.value.seen : [];
    this.#scheduler.note(
      `${this.name} ${operation.kind} ${operation.path}${"to" in operation ? ` ${operation.to}` : ""} -> ${status} ${seen.map(({ node }) => node.id).join()}`,
    );
    this.#history.push({ ...call, returnedMs, outcome: { status, seen } });
    if (reply.kind === "ok") this.#perhapsRepeat(operation, operationId, reply.value);
    return reply;
  }

  /** Whatever comes of it, it comes of a state that knows what was known anywhere when it was asked for. */
  async #read(
    master: MasterProcess,
    operation: Operation,
    operationId: { readonly high: bigint; readonly low: bigint },
  ): Promise<Value> {
    const floor = this.#readFloor();
    try {
      const value = await this.#carryOut(master, operation, operationId);
      this.#onRead(master, floor);
      return value;
    } catch (error) {
      if (isRockpoolError(error) && !TRY_AGAIN.has(error.status)) this.#onRead(master, floor);
      throw error;
    }
  }

  /** @returns null when the client lost its patience */
  async #repeated(
    calledMs: number,
    act: (master: MasterProcess) => Promise<Value>,
  ): Promise<Reply<Value> | null> {
    for (let attempt = 0; ; attempt++) {
      const masters = this.#masters();
      const master = masters[this.#target % masters.length];
      if (master === undefined) return null;
      const reply = await callMaster(this.lane, master, act, this.#deadlineMs);
      if (reply.kind === "ok" || !TRY_AGAIN.has(reply.status)) return reply;
      this.#target += 1;
      if (this.#scheduler.nowMs - calledMs > this.#traits.patienceMs) return null;
      const backoffMs = Math.min(BACKOFF_MAX_MS, 10 * 2 ** Math.floor(attempt / masters.length));
      await this.#sleep(this.#random.between(1, backoffMs));
    }
  }

  async #carryOut(
    { namespace: { fileSystem } }: MasterProcess,
    operation: Operation,
    operationId: { readonly high: bigint; readonly low: bigint },
  ): Promise<Value> {
    const call = { principal: ROOT, operationId };
    const path = parsePath(operation.path);
    const nothing: Value = { id: null, seen: [] };
    switch (operation.kind) {
      case "create": {
        const info = await fileSystem.createFile(call, path, {
          ...CREATE,
          isRecursive: operation.isRecursive,
        });
        // Its state of completion is of later than its making; and it may have been renamed since.
        const node = { ...nodeOf(info), isComplete: false };
        return { id: node.id, seen: [{ name: operation.path, node }] };
      }
      case "mkdir": {
        const { isRecursive, allowExists } = operation;
        const isPersisted = this.#traits.isThrough;
        const options = { ...MKDIR, isRecursive, allowExists, isPersisted };
        await fileSystem.createDirectory(call, path, options);
        return nothing;
      }
      case "remove": {
        const { isRecursive } = operation;
        await fileSystem.remove(call, path, { isRecursive, isAlluxioOnly: false });
        return nothing;
      }
      case "rename":
        await fileSystem.rename(call, path, parsePath(operation.to), { isOverwrite: false });
        return nothing;
      case "complete":
        await fileSystem.completeFile(call, path, {
          ufsLengthBytes: null,
          isAsyncPersist: false,
          contentHash: "",
        });
        return nothing;
      case "status": {
        const options = { loadMetadata: "never", accessBits: 0 } as const;
        const info = await fileSystem.getStatus(call, path, options);
        return { id: null, seen: [{ name: operation.path, node: nodeOf(info) }] };
      }
      case "list": {
        const seen: { name: string; node: NodeState }[] = [];
        const options = { isRecursive: false, loadMetadata: "never" } as const;
        for await (const batch of fileSystem.listStatus(call, path, options))
          for (const info of batch) seen.push({ name: info.path, node: nodeOf(info) });
        return { id: null, seen };
      }
    }
  }

  /** Asks again for what was done: the first result, and nothing else, must come of it. */
  #perhapsRepeat(
    operation: Operation,
    operationId: { readonly high: bigint; readonly low: bigint },
    first: Value,
  ): void {
    const isChange = !["status", "list", "complete"].includes(operation.kind);
    // A directory that was there already is found without an entry, so its making is not remembered.
    const isRemembered = isChange && !(operation.kind === "mkdir" && operation.allowExists);
    const isSame = operation.kind === "rename" && operation.path === operation.to;
    if (!isRemembered || isSame || !this.#random.chance(this.#traits.repeatChance)) return;
    const waitMs = this.#random.skewed(1, 4000);
    this.#scheduler.after(waitMs, this.lane, "repeat", () => {
      const masters = this.#masters();
      const master = masters[this.#random.below(masters.length)];
      if (master === undefined) return;
      void callMaster(
        this.lane,
        master,
        (process) => this.#carryOut(process, operation, operationId),
        this.#traits.deadlineMs,
      ).then((reply) => this.#judgeRepeat(operation, first, reply));
    });
  }

  #judgeRepeat(operation: Operation, first: Value, reply: Reply<Value>): void {
    if (reply.kind === "error" && TRY_AGAIN.has(reply.status)) return;
    this.#stats.repeats += 1;
    // A file that is gone since can't be described any more.
    if (reply.kind === "error" && reply.status === "NOT_FOUND" && operation.kind === "create")
      return;
    const isEqual = reply.kind === "ok" && reply.value.id === first.id;
    if (isEqual) return;
    const now = reply.kind === "ok" ? `id ${reply.value.id}` : `${reply.status} ${reply.message}`;
    this.#scheduler.fail(
      new Error(
        `I11: ${this.name} asked again for ${operation.kind} ${operation.path}, which had given id ${first.id}, and got ${now}`,
      ),
    );
  }
}
