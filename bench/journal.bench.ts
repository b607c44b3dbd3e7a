/**
 * The journal alone, with a state machine that does nothing, beside the least that durability costs: a raw group-commit
 * loop with the same fdatasync (raw_loop.ts). Both run in processes of their own and take turns, round by round.
 *
 * Two comparisons, because a master among three does three times the work of one loop, which three machines would share:
 *
 * - **A sole master beside one raw loop**: like for like. Each batch is one write and one fdatasync on one disk; the ratio
 *   is the price of a log that can be read again, of the journal's thread and of the state machine. At least 0.5.
 * - **Three masters beside three raw loops at once**, on the cores and the disk of one machine, each loop with all
 *   proposers: the ratio is the price of replication on top. Three machines would not share.
 *
 * `--rounds=` and `--ms=` make it shorter; `--only=sole` leaves the three out, and writes no results.
 * @module
 */
import { type ChildProcess, fork } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { formatJournal } from "../src/journal/journal_format.ts";
import { openKernels } from "../src/kernels/load.ts";
import { machineFacts, numberFlag, percentile } from "./harness.ts";
import type { ChildSetup } from "./journal_child.ts";
import { ENTRY_BYTES, type FromChild, type Round, type ToChild } from "./journal_load.ts";

const PROPOSERS = [1, 32, 256, 1024];
const MEMBERS = 3;
const RATIO_MIN = 0.5;
const ROUNDS = numberFlag("rounds", 5);
const ROUND_MS = numberFlag("ms", 1000);
const IS_SOLE_ONLY = process.argv.includes("--only=sole");
/** Of /proc's CPU times; Linux never has another one. */
const CLOCK_TICKS_PER_S = 100;

type Measured = { readonly rounds: readonly Round[]; readonly cpuMs: number };

/** Processes that are measured together: raw loops, or the members of one journal. */
class Group {
  readonly #children: readonly ChildProcess[];
  readonly #ready: Promise<unknown>;
  /** Those that take proposals: all raw loops, one member. */
  #proposing: ChildProcess[] = [];

  constructor(script: string, setups: readonly ChildSetup[]) {
    this.#children = setups.map((setup) => {
      const child = fork(script, [JSON.stringify(setup)]);
      // Half a cluster measures nothing; the others end when this process does.
      child.on("exit", (code) => {
        if (code !== 0) throw new Error(`A ${setup.kind} ended with ${code}`);
      });
      return child;
    });
    const isReady = this.#children.map(
      (child) =>
        new Promise<void>((resolve) => {
          // Only our own children send here.
          child.on("message", (message: FromChild) => {
            if (message.kind !== "ready") return;
            if (setups[0]?.kind === "raw") this.#proposing.push(child);
            else this.#proposing = [child];
            resolve();
          });
        }),
    );
    this.#ready = setups[0]?.kind === "raw" ? Promise.all(isReady) : Promise.race(isReady);
  }

  async ready(): Promise<void> {
    await this.#ready;
  }

  async run(proposers: number): Promise<Measured> {
    const before = this.#cpuMs();
    const rounds = await Promise.all(
      this.#proposing.map(
        (child) =>
          new Promise<Round>((resolve) => {
            const onMessage = (message: FromChild) => {
              if (message.kind !== "round") return;
              child.off("message", onMessage);
              resolve(message.round);
            };
            child.on("message", onMessage);
            send(child, { kind: "run", proposers, ms: ROUND_MS });
          }),
      ),
    );
    return { rounds, cpuMs: this.#cpuMs() - before };
  }

  /** Of all threads of all processes so far. */
  #cpuMs(): number {
    let ticks = 0;
    for (const { pid } of this.#children) {
      // Behind the name, which may hold anything but ends with the last bracket.
      const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
      ticks += Number(fields[11]) + Number(fields[12]);
    }
    return (ticks * 1000) / CLOCK_TICKS_PER_S;
  }

  async end(): Promise<void> {
    const ended = this.#children.map(
      (child) => new Promise((resolve) => child.once("exit", resolve)),
    );
    for (const child of this.#children) send(child, { kind: "end" });
    await Promise.all(ended);
  }
}

function send(child: ChildProcess, message: ToChild): void {
  child.send(message);
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

type Scripts = { readonly child: string; readonly thread: string };

/** What the processes run, and the threads in them. */
async function bundled(root: string): Promise<Scripts> {
  const child = join(root, "journal_child.mjs");
  const thread = join(root, "journal_thread.mjs");
  for (const [source, outfile] of [
    ["bench/journal_child.ts", child],
    ["src/journal_thread_main.ts", thread],
  ] as const)
    await build({
      entryPoints: [source],
      outfile,
      bundle: true,
      format: "esm",
      platform: "node",
      target: "node20",
      loader: { ".wasm": "binary" },
    });
  return { child, thread };
}

async function members(root: string, scripts: Scripts, count: number): Promise<Group> {
  const kernels = openKernels({ flavour: "js", arenaBytes: 64 * 1024 });
  const crc32c = (bytes: Uint8Array, seed?: number) => kernels.crc32c(bytes, seed);
  const addresses = (await freePorts(count)).map((port) => `127.0.0.1:${port}`);
  const setups: ChildSetup[] = [];
  for (const [at, address] of addresses.entries()) {
    const folder = join(root, `member-${at + 1}-of-${count}`);
    await formatJournal(folder, { address, addresses, crc32c, nowMs: Date.now() });
    setups.push({ kind: "member", folder, address, addresses, script: scripts.thread });
  }
  return new Group(scripts.child, setups);
}

function rawLoops(root: string, scripts: Scripts, count: number): Group {
  return new Group(
    scripts.child,
    Array.from({ length: count }, (_, at) => ({
      kind: "raw",
      path: join(root, `raw-${at + 1}-of-${count}`),
    })),
  );
}

type Figures = {
  readonly entriesPerS: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Of all threads and processes of the group, for each entry that was answered. */
  readonly cpuUsPerEntry: number;
};

const speed = ({ entries, ms }: Round) => (entries * 1000) / ms;
const rounded = (value: number) => Number(value.toPrecision(3));

/** Of the round with the median throughput: means over rounds would show the neighbours. */
function figuresOf(measured: readonly Measured[]): Figures {
  const each = measured.map(({ rounds, cpuMs }): Figures => {
    const mean = (of: (round: Round) => number) =>
      rounds.reduce((sum, one) => sum + of(one), 0) / rounds.length;
    const entries = rounds.reduce((sum, one) => sum + one.entries, 0);
    return {
      entriesPerS: Math.round(mean(speed)),
      p50Ms: rounded(mean(({ p50Ms }) => p50Ms)),
      p99Ms: rounded(mean(({ p99Ms }) => p99Ms)),
      cpuUsPerEntry: rounded((cpuMs * 1000) / entries),
    };
  });
  const middle = percentile(
    each.map(({ entriesPerS }) => entriesPerS),
    0.5,
  );
  const found = each.find(({ entriesPerS }) => entriesPerS === middle);
  if (found === undefined) throw new Error("No round was measured");
  return found;
}

function print(proposers: number, what: string, figures: Figures, ratio = ""): void {
  const { entriesPerS, p50Ms, p99Ms, cpuUsPerEntry } = figures;
  const columns = [String(proposers).padStart(5), what.padEnd(13), `${entriesPerS}/s`.padStart(10)];
  const times = `p50 ${p50Ms} ms  p99 ${p99Ms} ms  CPU ${cpuUsPerEntry} us`;
  console.log(`${columns.join("  ")}  ${times}  ${ratio}`);
}

type Pair = { readonly journal: Group; readonly raw: Group };

async function compare({ journal, raw }: Pair, proposers: number, what: readonly [string, string]) {
  const journalRounds: Measured[] = [];
  const rawRounds: Measured[] = [];
  await raw.run(proposers); // Warms up.
  await journal.run(proposers);
  for (let count = 0; count < ROUNDS; count++) {
    rawRounds.push(await raw.run(proposers));
    journalRounds.push(await journal.run(proposers));
  }
  const own = figuresOf(journalRounds);
  const loop = figuresOf(rawRounds);
  const ratio = rounded(own.entriesPerS / loop.entriesPerS);
  const latencyRatio = rounded(own.p50Ms / loop.p50Ms);
  print(proposers, what[1], loop);
  print(proposers, what[0], own, `throughput ×${ratio}, p50 ×${latencyRatio}`);
  return { journal: own, rawLoop: loop, ratio, latencyRatio };
}

async function measureAll(sole: Pair, three: Pair | null) {
  const rows: object[] = [];
  for (const proposers of PROPOSERS) {
    const one = await compare(sole, proposers, ["sole master", "raw loop"]);
    if (one.ratio < RATIO_MIN) {
      console.log(`MISSED: ${one.ratio} of a raw loop at ${proposers}, at least ${RATIO_MIN}`);
      process.exitCode = 1;
    }
    if (three === null) continue;
    const all = await compare(three, proposers, ["three masters", "3 raw loops"]);
    rows.push({ proposers, soleMaster: one, threeMasters: all });
  }
  return rows;
}

async function main(): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), "rockpool-bench-"));
  const scripts = await bundled(root);
  const sole = { journal: await members(root, scripts, 1), raw: rawLoops(root, scripts, 1) };
  const three = IS_SOLE_ONLY
    ? null
    : { journal: await members(root, scripts, MEMBERS), raw: rawLoops(root, scripts, MEMBERS) };
  const groups = [sole, three].flatMap((pair) => (pair === null ? [] : [pair.journal, pair.raw]));
  try {
    for (const group of groups) await group.ready();
    console.log(`Entries of ${ENTRY_BYTES} B, one disk`);
    const rows = await measureAll(sole, three);
    if (three === null) return;
    mkdirSync("bench/results", { recursive: true });
    const measuredAt = new Date().toISOString();
    const result = { name: "journal", measuredAt, machine: machineFacts(), rows };
    writeFileSync("bench/results/journal.json", `${JSON.stringify(result, null, 2)}\n`);
  } finally {
    for (const group of groups) await group.end();
    rmSync(root, { recursive: true, force: true });
  }
}

await main();
