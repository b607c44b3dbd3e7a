/**
 * `bench …`: short measurements of the cluster that is there, from this host; JSON on standard output.
 *
 * What it writes lies in a directory with a random name below `--path`, which it removes. Numbers of a machine that does
 * other things at the same time are those of that moment.
 * @module
 */
import { randomBytes } from "node:crypto";
import { availableParallelism, cpus } from "node:os";
import type { FileSystem } from "../client/file_system.ts";
import { RockpoolError } from "../common/errors.ts";
import { parseSizeBytes } from "../common/units.ts";
import type { FlagSpec, ParsedArguments } from "./arguments.ts";
import { type Command, type CommandTable, countOf } from "./command.ts";
import { EXIT_FAILED, EXIT_OK, say } from "./console.ts";
import type { Json } from "./output.ts";
import type { Session } from "./session.ts";

const DIRECTORY = "/rockpool_bench";
const MIB = 1024 * 1024;
const THREADS_MAX = 512;
const SECONDS_MAX = 600;
const SIZE_MAX = 4096 * MIB;
/** Times that are kept for percentiles. */
const TIMES_MAX = 200_000;
const ERRORS_SHOWN = 10;
const SMALL_READ_BYTES = 4096;

type Options = {
  readonly seconds: number;
  readonly threads: number;
  readonly sizeBytes: number;
  readonly path: string;
};

const SECONDS: FlagSpec = { names: ["seconds"], value: "num", help: "of each part (3)" };
const THREADS: FlagSpec = { names: ["threads"], value: "num", help: "calls at a time" };
const SIZE: FlagSpec = { names: ["size"], value: "size", help: "of a file (16MB)" };
const PATH: FlagSpec = { names: ["path"], value: "path", help: `where files go (${DIRECTORY})` };

function optionsOf(given: ParsedArguments, threadsByDefault: number): Options {
  const between = (flag: string, byDefault: number, max: number) => {
    const value = countOf(given.value(flag) ?? String(byDefault), `--${flag}`);
    if (value >= 1 && value <= max) return value;
    throw new RockpoolError("INVALID_ARGUMENT", `--${flag} is ${value}`, `Give 1 to ${max}`);
  };
  const text = given.value("size") ?? "16MB";
  const sizeBytes = parseSizeBytes(text);
  if (sizeBytes === null || sizeBytes < SMALL_READ_BYTES || sizeBytes > SIZE_MAX)
    throw new RockpoolError("INVALID_ARGUMENT", `--size is "${text}"`, "Give 4KB to 4GB");
  return {
    seconds: between("seconds", 3, SECONDS_MAX),
    threads: between("threads", threadsByDefault, THREADS_MAX),
    sizeBytes,
    path: given.value("path") ?? DIRECTORY,
  };
}

type Measured = {
  count: number;
  bytes: number;
  readonly times: number[];
  readonly errors: Map<string, number>;
  tookMs: number;
};

/** Repeats calls from several threads until the time is over. @param act returns bytes that it moved */
async function measure(
  session: Session,
  { seconds, threads }: Options,
  act: (thread: number, turn: number) => Promise<number>,
): Promise<Measured> {
  const measured: Measured = { count: 0, bytes: 0, times: [], errors: new Map(), tookMs: 0 };
  const { signal } = session.console;
  const startedMs = performance.now();
  const endMs = startedMs + seconds * 1000;
  const run = async (thread: number) => {
    for (let turn = 0; performance.now() < endMs && !signal.aborted; turn++) {
      const beganMs = performance.now();
      try {
        measured.bytes += await act(thread, turn);
        measured.count += 1;
        if (measured.times.length < TIMES_MAX) measured.times.push(performance.now() - beganMs);
      } catch (error) {
        const text = error instanceof Error ? error.message : String(error);
        const isNew = !measured.errors.has(text);
        if (!isNew || measured.errors.size < ERRORS_SHOWN)
          measured.errors.set(text, (measured.errors.get(text) ?? 0) + 1);
        // One that fails at once must not be asked a million times.
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }
  };
  await Promise.all(Array.from({ length: threads }, (_, thread) => run(thread)));
  measured.tookMs = performance.now() - startedMs;
  return measured;
}

function round(value: number): number {
  return Number(value.toPrecision(4));
}

function reportOf({ count, bytes, times, errors, tookMs }: Measured): Json {
  const sorted = times.sort((a, b) => a - b);
  const at = (share: number) =>
    round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0);
  const perSecond = (amount: number) => round((amount * 1000) / Math.max(1, tookMs));
  return {
    count,
    perSecond: perSecond(count),
    ...(bytes > 0 ? { mbPerSecond: perSecond(bytes / MIB) } : {}),
    latencyMs: { p50: at(0.5), p99: at(0.99), max: round(sorted.at(-1) ?? 0) },
    errors: Object.fromEntries(errors),
  };
}

type Parts = Readonly<Record<string, Measured>>;
type Bench = (session: Session, files: FileSystem, options: Options) => Promise<Parts>;

/** Names files that earlier parts of a bench made: each thread its own. */
class Made {
  readonly #counts = new Map<number, number>();
  add(thread: number, turn: number): void {
    this.#counts.set(thread, turn + 1);
  }
  of(thread: number): number {
    return this.#counts.get(thread) ?? 0;
  }
}

const master: Bench = async (session, files, options) => {
  const { path } = options;
  const made = new Made();
  const name = (thread: number, turn: number) => `${path}/${thread}-${turn}`;
  const create = await measure(session, options, async (thread, turn) => {
    await files.writeFile(name(thread, turn), "", { writeType: "MUST_CACHE" });
    made.add(thread, turn);
    return 0;
  });
  const stat = await measure(session, options, async (thread, turn) => {
    await files.getStatus(name(thread, turn % Math.max(1, made.of(thread))));
    return 0;
  });
  const list = await measure(session, { ...options, threads: 1 }, async () => {
    let count = 0;
    for await (const _ of files.listStatus(path)) if (++count === 1000) break;
    return 0;
  });
  const remove = await measure(session, options, async (thread, turn) => {
    if (turn < made.of(thread)) await files.delete(name(thread, turn));
    else await files.exists(path);
    return 0;
  });
  return { create, stat, list, remove };
};

/** A change is acknowledged when it is durable on a majority: that is what is measured. */
const journal: Bench = async (session, files, options) => {
  const change = (folder: string) => async (thread: number, turn: number) => {
    await files.createDirectory(`${options.path}/${folder}/${thread}-${turn}`, {
      writeType: "MUST_CACHE",
    });
    return 0;
  };
  const oneAtATime = await measure(session, { ...options, threads: 1 }, change("one"));
  const manyAtATime = await measure(session, options, change("many"));
  return { oneAtATime, manyAtATime };
};

async function readWhole(files: FileSystem, path: string): Promise<number> {
  let bytes = 0;
  const file = await files.openFile(path);
  for await (const chunk of file.chunks()) bytes += chunk.length;
  return bytes;
}

const worker: Bench = async (session, files, options) => {
  const path = `${options.path}/cached`;
  await files.writeFile(path, randomBytes(options.sizeBytes), { writeType: "MUST_CACHE" });
  const stream = await measure(session, options, () => readWhole(files, path));
  const file = await files.openFile(path);
  const places = Math.floor(options.sizeBytes / SMALL_READ_BYTES);
  const random = await measure(session, options, async () => {
    const at = SMALL_READ_BYTES * Math.floor(Math.random() * places);
    return (await file.readAt(at, SMALL_READ_BYTES)).length;
  });
  return { stream, random4KB: random };
};

const client: Bench = async (session, files, options) => {
  const { path, sizeBytes } = options;
  const content = randomBytes(sizeBytes);
  const made = new Made();
  const name = (thread: number, turn: number) => `${path}/${thread}-${turn % 4}`;
  const write = await measure(session, options, async (thread, turn) => {
    const writing = { writeType: "MUST_CACHE", isOverwrite: true } as const;
    await files.writeFile(name(thread, turn), content, writing);
    made.add(thread, Math.min(turn, 3));
    return sizeBytes;
  });
  const through = await measure(session, options, async (thread) => {
    const writing = { writeType: "CACHE_THROUGH", isOverwrite: true } as const;
    await files.writeFile(`${path}/through-${thread}`, content, writing);
    return sizeBytes;
  });
  const read = await measure(session, options, (thread, turn) =>
    readWhole(files, name(thread, turn % Math.max(1, made.of(thread)))),
  );
  return { writeMustCache: write, writeCacheThrough: through, read };
};

function failureCount(parts: Parts): number {
  return Object.values(parts).reduce((sum, { errors }) => sum + errors.size, 0);
}

function command(
  name: string,
  bench: Bench,
  about: {
    readonly summary: string;
    readonly flags: readonly FlagSpec[];
    readonly threads: number;
  },
): Command {
  const flags = about.flags.map((flag) =>
    flag === THREADS ? { ...flag, help: `${flag.help} (${about.threads})` } : flag,
  );
  return {
    usage: flags.map(({ names: [flag], value }) => `[--${flag} <${value}>]`).join(" "),
    summary: about.summary,
    makesFiles: true,
    flags,
    argumentsMin: 0,
    argumentsMax: 0,
    async run(session, given) {
      const asked = optionsOf(given, about.threads);
      const { files, path } = await session.open(asked.path);
      const options = { ...asked, path: `${path}/${randomBytes(6).toString("hex")}` };
      await files.createDirectory(options.path, { writeType: "MUST_CACHE" });
      try {
        const parts = await bench(session, files, options);
        const { seconds, threads, sizeBytes } = options;
        const report = {
          bench: name,
          at: new Date().toISOString(),
          cores: availableParallelism(),
          seconds,
          threads,
          sizeBytes,
          parts: Object.fromEntries(
            Object.entries(parts).map(([part, measured]) => [part, reportOf(measured)]),
          ),
        };
        await say(session.console, JSON.stringify(report, null, 2));
        return failureCount(parts) === 0 ? EXIT_OK : EXIT_FAILED;
      } finally {
        await files.delete(options.path, { isRecursive: true, isUnchecked: true });
      }
    },
  };
}

/** Checksums of this machine's cores, by both kinds of kernels. */
const wasm: Command = {
  usage: "[--seconds <num>]",
  summary: "Measures the kernels that check every byte, in WebAssembly and in JavaScript.",
  flags: [SECONDS],
  argumentsMin: 0,
  argumentsMax: 0,
  async run(session, given) {
    const { openKernels } = await import("../kernels/load.ts");
    const { seconds } = optionsOf(given, 1);
    const crc32c: Record<string, Json> = {};
    const sums = new Set<number>();
    for (const flavour of ["wasm", "js"] as const) {
      const kernels = openKernels({ flavour, arenaBytes: 4 * MIB });
      const { arenaOffset } = kernels;
      for (let at = 0; at < MIB; at++) kernels.memory[arenaOffset + at] = (at * 31) & 0xff;
      const options = { seconds, threads: 1, sizeBytes: MIB, path: "" };
      const measured = await measure(session, options, async () => {
        sums.add(kernels.crc32cInMemory(arenaOffset, MIB));
        return MIB;
      });
      crc32c[flavour] = reportOf(measured);
    }
    const model = cpus()[0]?.model ?? "unknown";
    const report = { bench: "wasm", at: new Date().toISOString(), cpu: model, seconds, crc32c };
    await say(session.console, JSON.stringify(report, null, 2));
    // Both must say the same of the same bytes.
    return sums.size === 1 ? EXIT_OK : EXIT_FAILED;
  },
};

export const COMMANDS: CommandTable = {
  master: command("master", master, {
    summary: "Measures how many files the masters create, look up, list and remove in a second.",
    flags: [SECONDS, THREADS, PATH],
    threads: 32,
  }),
  worker: command("worker", worker, {
    summary: "Measures reads of a cached file: the whole of it, and 4 KB here and there.",
    flags: [SECONDS, THREADS, SIZE, PATH],
    threads: 4,
  }),
  client: command("client", client, {
    summary: "Measures writing and reading of whole files.",
    flags: [SECONDS, THREADS, SIZE, PATH],
    threads: 4,
  }),
  journal: command("journal", journal, {
    summary: "Measures how long a change takes to be durable, alone and among others.",
    flags: [SECONDS, THREADS, PATH],
    threads: 32,
  }),
  wasm,
};
