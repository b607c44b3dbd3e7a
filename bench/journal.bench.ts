/**
 * The journal alone: three members in processes of their own, each with its journal thread and its folder on this
 * disk, and a state machine that does nothing. Beside it, in turns, the least that durability costs: a loop that
 * writes what all proposers have to say into a file full of zeros, with one fdatasync for all. The ratio is the price
 * of replication, of threads and of answering each proposer.
 *
 * Three members on one machine share its cores and its disk, which three machines would not. So the same loop is also run
 * in three processes at once, each with all proposers; the ratio to the mean of the three leaves that sharing out.
 * @module
 */
import { type ChildProcess, fork } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";
import { isRockpoolError } from "../src/common/errors.ts";
import { formatJournal } from "../src/journal/journal_format.ts";
import type { CommittedEntry, StateMachine, StatePosition } from "../src/journal/journal_system.ts";
import { RaftJournal } from "../src/journal/raft_journal.ts";
import { workerThread } from "../src/journal/thread_port.ts";
import { openKernels } from "../src/kernels/load.ts";
import { nodeWorld } from "../src/world/node_world.ts";
import { machineFacts, percentile } from "./harness.ts";

const MEMBERS = 3;
const PROPOSERS = [1, 32, 256, 1024];
const ROUNDS = 5;
const ROUND_MS = 1000;
const ENTRY_BYTES = 200;
const RECORD_BYTES = 28;
const PAGE_BYTES = 4096;
const RAW_FILE_BYTES = 64 * 1024 * 1024;

type MemberSetup = {
  readonly folder: string;
  readonly address: string;
  readonly addresses: readonly string[];
  readonly script: string;
};
/** A raw loop in a process of its own. */
type RawSetup = { readonly path: string };
type ToMember = { readonly kind: "run"; readonly proposers: number } | { readonly kind: "end" };
type FromMember = { readonly kind: "leads" } | { readonly kind: "round"; readonly round: Round };
type Round = { readonly entries: number; readonly ms: number; readonly latenciesMs: number[] };

/** Answers with the index, keeps nothing. */
class Nothing implements StateMachine<number> {
  #position: StatePosition = { index: 0, term: 0, membership: null };
  position(): StatePosition {
    return this.#position;
  }
  apply(entries: readonly CommittedEntry[], through: StatePosition): readonly number[] {
    this.#position = through;
    return entries.map(({ index }) => index);
  }
  async writeImage(path: string): Promise<StatePosition> {
    const position = this.#position;
    writeFileSync(path, "nothing");
    return position;
  }
  installImage(): Promise<StatePosition> {
    return Promise.resolve(this.#position);
  }
}

/** As many loops as there are proposers, each waiting for its own answer. */
async function round(
  proposers: number,
  act: (payload: Uint8Array) => Promise<unknown>,
): Promise<Round> {
  const latenciesMs: number[] = [];
  const beganMs = performance.now();
  const propose = async () => {
    const payload = new Uint8Array(ENTRY_BYTES).fill(7);
    for (let startMs = performance.now(); startMs - beganMs < ROUND_MS; ) {
      await act(payload);
      const nowMs = performance.now();
      latenciesMs.push(nowMs - startMs);
      startMs = nowMs;
    }
  };
  await Promise.all(Array.from({ length: proposers }, propose));
  return { entries: latenciesMs.length, ms: performance.now() - beganMs, latenciesMs };
}

// — the raw loop —

/** One write and one fdatasync at a time; whoever comes meanwhile goes together with the next. */
class RawLoop {
  readonly #file: FileHandle;
  #waiting: { readonly payload: Uint8Array; readonly resolve: () => void }[] = [];
  #isRunning = false;
  #offsetBytes = 0;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  static async open(path: string): Promise<RawLoop> {
    const file = await open(path, "w+");
    const zeros = new Uint8Array(1024 * 1024);
    for (let at = 0; at < RAW_FILE_BYTES; at += zeros.length)
      await file.write(zeros, 0, zeros.length, at);
    await file.sync();
    return new RawLoop(file);
  }

  append(payload: Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push({ payload, resolve });
      if (!this.#isRunning) {
        this.#isRunning = true;
        // At the end of the turn, so that all that woke up in it goes together.
        setImmediate(() => void this.#run());
      }
    });
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      const sizeBytes = batch.length * (ENTRY_BYTES + RECORD_BYTES);
      const bytes = new Uint8Array(Math.ceil(sizeBytes / PAGE_BYTES) * PAGE_BYTES);
      for (const [at, { payload }] of batch.entries())
        bytes.set(payload, at * (ENTRY_BYTES + RECORD_BYTES) + RECORD_BYTES);
      if (this.#offsetBytes + bytes.length > RAW_FILE_BYTES) this.#offsetBytes = 0;
      await this.#file.write(bytes, 0, bytes.length, this.#offsetBytes);
      await this.#file.datasync();
      this.#offsetBytes += bytes.length;
      for (const { resolve } of batch) resolve();
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.#isRunning = false;
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}

// — a member —

async function runMember(setup: MemberSetup): Promise<void> {
  const { folder, address, addresses, script } = setup;
  const tell = (message: FromMember) => process.send?.(message);
  const journal = new RaftJournal<number>({
    folder,
    address,
    addresses,
    bindHost: "127.0.0.1",
    bindPort: Number(address.split(":")[1]),
    stateMachine: new Nothing(),
    world: nodeWorld(),
    connect: workerThread(pathToFileURL(script), { kernelFlavour: "wasm" }),
    onEvent(event) {
      if (event.kind === "fatal") throw new Error(event.message);
    },
  });
  journal.onLeadership(({ kind }) => {
    if (kind === "gained") tell({ kind: "leads" });
  });
  // Only the parent, which is this same file, sends here.
  process.on("message", (message: ToMember) => void obey(journal, message, tell));
  // A parent that was killed must not leave a cluster behind.
  process.on("disconnect", () => process.exit());
  await journal.start();
}

async function obey(
  journal: RaftJournal<number>,
  message: ToMember,
  tell: (message: FromMember) => void,
): Promise<void> {
  if (message.kind === "end") {
    await journal.abandon();
    process.disconnect();
    return;
  }
  const measured = await round(message.proposers, async (payload) => {
    try {
      await journal.propose(payload);
    } catch (error) {
      // A change of leaders in the middle: this round is worth nothing, and says so by its figures.
      if (!isRockpoolError(error, "UNAVAILABLE")) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  });
  tell({ kind: "round", round: measured });
}

async function runRaw({ path }: RawSetup): Promise<void> {
  const raw = await RawLoop.open(path);
  // Only the parent, which is this same file, sends here.
  process.on("message", async (message: ToMember) => {
    if (message.kind === "end") {
      await raw.close();
      process.disconnect();
      return;
    }
    const measured = await round(message.proposers, (payload) => raw.append(payload));
    const answer: FromMember = { kind: "round", round: measured };
    process.send?.(answer);
  });
  process.on("disconnect", () => process.exit());
  const ready: FromMember = { kind: "leads" };
  process.send?.(ready);
}

// — the parent —

/** Raw loops that run at the same time. */
class RawLoops {
  readonly #children: readonly ChildProcess[];

  constructor(paths: readonly string[]) {
    this.#children = paths.map((path) =>
      fork(fileURLToPath(import.meta.url), [`--raw=${JSON.stringify({ path })}`]),
    );
  }

  #next(child: ChildProcess): Promise<FromMember> {
    return new Promise((resolve) => child.once("message", resolve));
  }

  async ready(): Promise<void> {
    await Promise.all(this.#children.map((child) => this.#next(child)));
  }

  /** @returns the round that is the middle one by its throughput */
  async run(proposers: number): Promise<Round> {
    const rounds = await Promise.all(
      this.#children.map(async (child) => {
        const answer = this.#next(child);
        const message: ToMember = { kind: "run", proposers };
        child.send(message);
        const told = await answer;
        if (told.kind !== "round") throw new Error("A raw loop answers with its round");
        return told.round;
      }),
    );
    return middleOf(rounds);
  }

  async end(): Promise<void> {
    const message: ToMember = { kind: "end" };
    const ended = this.#children.map(
      (child) => new Promise((resolve) => child.once("exit", resolve)),
    );
    for (const child of this.#children) child.send(message);
    await Promise.all(ended);
  }
}

class Members {
  readonly #children: readonly ChildProcess[];
  #leader: ChildProcess | null = null;
  #onRound: ((round: Round) => void) | null = null;
  #onLeader: (() => void) | null = null;

  constructor(setups: readonly MemberSetup[]) {
    this.#children = setups.map((setup) => {
      const flag = `--member=${JSON.stringify(setup)}`;
      const child = fork(fileURLToPath(import.meta.url), [flag]);
      // Only `tell` of our own children sends here.
      child.on("message", (message: FromMember) => {
        if (message.kind === "leads") {
          this.#leader = child;
          this.#onLeader?.();
        } else this.#onRound?.(message.round);
      });
      return child;
    });
  }

  async led(): Promise<void> {
    if (this.#leader !== null) return;
    await new Promise<void>((resolve) => {
      this.#onLeader = resolve;
    });
  }

  run(proposers: number): Promise<Round> {
    return new Promise((resolve) => {
      this.#onRound = resolve;
      this.#send(this.#leader, { kind: "run", proposers });
    });
  }

  #send(child: ChildProcess | null, message: ToMember): void {
    child?.send(message);
  }

  async end(): Promise<void> {
    const ended = this.#children.map(
      (child) => new Promise((resolve) => child.once("exit", resolve)),
    );
    for (const child of this.#children) this.#send(child, { kind: "end" });
    await Promise.all(ended);
  }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports: number[] = [];
  for (const server of servers) {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    if (typeof address === "object" && address !== null) ports.push(address.port);
  }
  for (const server of servers) await new Promise((resolve) => server.close(resolve));
  return ports;
}

async function setUp(root: string): Promise<MemberSetup[]> {
  const script = join(root, "journal_thread.mjs");
  await build({
    entryPoints: ["src/journal_thread_main.ts"],
    outfile: script,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    loader: { ".wasm": "binary" },
  });
  const kernels = openKernels({ flavour: "js", arenaBytes: 64 * 1024 });
  const crc32c = (bytes: Uint8Array, seed?: number) => kernels.crc32c(bytes, seed);
  const addresses = (await freePorts(MEMBERS)).map((port) => `127.0.0.1:${port}`);
  const setups: MemberSetup[] = [];
  for (const [at, address] of addresses.entries()) {
    const folder = join(root, `member-${at}`);
    await formatJournal(folder, { address, addresses, crc32c, nowMs: Date.now() });
    setups.push({ folder, address, addresses, script });
  }
  return setups;
}

type Figures = { readonly entriesPerS: number; readonly p50Ms: number; readonly p99Ms: number };

function middleOf(rounds: readonly Round[]): Round {
  const speed = ({ entries, ms }: Round) => (entries * 1000) / ms;
  const sorted = [...rounds].sort((a, b) => speed(a) - speed(b));
  return sorted[sorted.length >> 1] ?? { entries: 0, ms: 1, latenciesMs: [] };
}

/** Of the round with the median throughput: means over rounds would show the neighbours. */
function figuresOf(rounds: readonly Round[]): Figures {
  const { entries, ms, latenciesMs } = middleOf(rounds);
  const rounded = (value: number) => Number(value.toPrecision(3));
  return {
    entriesPerS: Math.round((entries * 1000) / ms),
    p50Ms: rounded(percentile(latenciesMs, 0.5)),
    p99Ms: rounded(percentile(latenciesMs, 0.99)),
  };
}

function print(proposers: number, what: string, figures: Figures, ratio: string): void {
  const { entriesPerS, p50Ms, p99Ms } = figures;
  const columns = [String(proposers).padStart(5), what.padEnd(9), `${entriesPerS}/s`.padStart(11)];
  console.log(`${columns.join("  ")}  p50 ${p50Ms} ms  p99 ${p99Ms} ms  ${ratio}`);
}

async function compare(members: Members, raw: RawLoop, raws: RawLoops, proposers: number) {
  const journalRounds: Round[] = [];
  const rawRounds: Round[] = [];
  const sharedRounds: Round[] = [];
  await members.run(proposers); // Warms up.
  for (let count = 0; count < ROUNDS; count++) {
    rawRounds.push(await round(proposers, (payload) => raw.append(payload)));
    sharedRounds.push(await raws.run(proposers));
    journalRounds.push(await members.run(proposers));
  }
  const journal = figuresOf(journalRounds);
  const loop = figuresOf(rawRounds);
  const shared = figuresOf(sharedRounds);
  const ratio = (one: number, other: number) => Number((one / other).toPrecision(3));
  const speedRatio = ratio(journal.entriesPerS, loop.entriesPerS);
  const sharedSpeedRatio = ratio(journal.entriesPerS, shared.entriesPerS);
  const latencyRatio = ratio(journal.p50Ms, loop.p50Ms);
  print(proposers, "raw loop", loop, "");
  print(proposers, "each of 3", shared, "");
  const ratios = `throughput ×${speedRatio}, of 3 ×${sharedSpeedRatio}, p50 ×${latencyRatio}`;
  print(proposers, "journal", journal, ratios);
  return {
    proposers,
    journal,
    rawLoop: loop,
    threeRawLoops: shared,
    speedRatio,
    sharedSpeedRatio,
    latencyRatio,
  };
}

async function main(): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), "rockpool-bench-"));
  const members = new Members(await setUp(root));
  const raw = await RawLoop.open(join(root, "raw"));
  const raws = new RawLoops([1, 2, 3].map((at) => join(root, `raw-${at}`)));
  try {
    await raws.ready();
    await members.led();
    console.log(`${MEMBERS} members on one disk, entries of ${ENTRY_BYTES} B`);
    const rows: Awaited<ReturnType<typeof compare>>[] = [];
    for (const proposers of PROPOSERS) rows.push(await compare(members, raw, raws, proposers));
    mkdirSync("bench/results", { recursive: true });
    const facts = {
      name: "journal",
      measuredAt: new Date().toISOString(),
      machine: machineFacts(),
    };
    writeFileSync("bench/results/journal.json", `${JSON.stringify({ ...facts, rows }, null, 2)}\n`);
  } finally {
    await members.end();
    await raws.end();
    await raw.close();
    rmSync(root, { recursive: true, force: true });
  }
}

/** What this process is to be, as `Members` or `RawLoops` above wrote it. */
function flag(name: string): string | null {
  const found = process.argv.find((argument) => argument.startsWith(`--${name}=`));
  return found === undefined ? null : found.slice(name.length + 3);
}

const member = flag("member");
const rawSetup = flag("raw");
if (member !== null) await runMember(JSON.parse(member) as MemberSetup);
else if (rawSetup !== null) await runRaw(JSON.parse(rawSetup) as RawSetup);
else await main();
