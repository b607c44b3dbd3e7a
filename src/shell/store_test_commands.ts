/**
 * `exec ufsTest` and `exec ufsIOTest`: an under store, tried without the cluster.
 * @module
 */

import { RockpoolError } from "../common/errors.ts";
import { parseSizeBytes } from "../common/units.ts";
import type { Configuration } from "../conf/configuration.ts";
import { MasterKeys } from "../conf/master_keys.ts";
import type { FlagSpec, ParsedArguments } from "./arguments.ts";
import { type Command, type CommandTable, countOf } from "./command.ts";
import { EXIT_FAILED, EXIT_OK, green, red, say } from "./console.ts";
import type { Session } from "./session.ts";

export type StoreCheck = {
  readonly name: string;
  /** Throws what is wrong. */
  readonly run: () => Promise<void>;
};

export type StoreSpeed = {
  /** How long each thread took, and how many bytes each one moved. */
  readonly tookMs: readonly number[];
  readonly bytesEach: number;
  readonly errors: readonly string[];
};

/** What the joining program gives: under stores. */
export type StoreTestParts = {
  /** Checks that work in a folder of their own below a location, and remove it. */
  readonly checks: (
    uri: string,
    configuration: Configuration,
  ) => Promise<{
    readonly checks: readonly StoreCheck[];
    readonly cleanUp: () => Promise<void>;
  }>;
  readonly measure: (
    uri: string,
    options: {
      readonly bytesEach: number;
      readonly threads: number;
      readonly configuration: Configuration;
    },
  ) => Promise<{ readonly write: StoreSpeed; readonly read: StoreSpeed }>;
};

const PATH: FlagSpec = {
  names: ["path"],
  value: "uri",
  help: "where in the under store (the root's)",
};
const THREADS_MAX = 256;
const MIB = 1024 * 1024;

/** A store is reached as a master of this host reaches it. */
function locationOf(session: Session, given: ParsedArguments) {
  const { configuration } = session.loadFor("master");
  return { path: given.value("path") ?? configuration.get(MasterKeys.rootUfs), configuration };
}

function ufsTest(parts: StoreTestParts): Command {
  return {
    usage: "[--path <uri>]",
    summary: "Tests whether an under store does what Alluxio needs of it.",
    flags: [PATH, { names: ["test"], value: "name", help: "this test alone" }],
    argumentsMin: 0,
    argumentsMax: 0,
    async run(session, given) {
      const { console } = session;
      const { path, configuration } = locationOf(session, given);
      const { checks, cleanUp } = await parts.checks(path, configuration);
      const only = given.value("test");
      const chosen = checks.filter(({ name }) => only === undefined || name === only);
      if (chosen.length === 0)
        throw new RockpoolError(
          "INVALID_ARGUMENT",
          `There is no test ${only}`,
          `One of ${checks.map(({ name }) => name).join(", ")}`,
        );
      let failed = 0;
      try {
        for (const { name, run } of chosen) {
          await say(console, `Running test: ${name}...`);
          const startedMs = performance.now();
          try {
            await run();
            const tookMs = Math.round(performance.now() - startedMs);
            await say(console, green(console, `Passed the test! time: ${tookMs}ms`));
          } catch (error) {
            failed++;
            const why = error instanceof Error ? error.message : String(error);
            await say(console, red(console, "Failed the test!"));
            await say(console, why);
          }
        }
      } finally {
        await cleanUp();
      }
      await say(console, `Tests completed with ${failed} failed.`);
      return failed === 0 ? EXIT_OK : EXIT_FAILED;
    },
  };
}

/** In MB/s, as Alluxio's own test reports it. */
function speedJson({ tookMs, bytesEach }: StoreSpeed) {
  const speeds = tookMs.map((ms) => bytesEach / MIB / (Math.max(ms, 0.001) / 1000));
  const mean = speeds.reduce((sum, one) => sum + one, 0) / Math.max(1, speeds.length);
  const spread = speeds.reduce((sum, one) => sum + (one - mean) ** 2, 0);
  return {
    mTotalDurationSeconds: tookMs.reduce((sum, one) => sum + one, 0) / 1000,
    mTotalSizeBytes: bytesEach * tookMs.length,
    mMaxSpeedMbps: speeds.length === 0 ? 0 : Math.max(...speeds),
    mMinSpeedMbps: speeds.length === 0 ? 0 : Math.min(...speeds),
    mAvgSpeedMbps: mean,
    mStdDev: Math.sqrt(spread / Math.max(1, speeds.length)),
  };
}

function ufsIOTest(parts: StoreTestParts): Command {
  return {
    usage: "[--path <uri>] [--io-size <size>] [--threads <num>]",
    summary: "Measures how fast an under store is written and read from this host.",
    flags: [
      PATH,
      { names: ["io-size"], value: "size", help: "bytes of each thread (64MB)" },
      { names: ["threads"], value: "num", help: "threads (4)" },
    ],
    argumentsMin: 0,
    argumentsMax: 0,
    async run(session, given) {
      const text = given.value("io-size") ?? "64MB";
      const bytesEach = parseSizeBytes(text);
      if (bytesEach === null || bytesEach < 1)
        throw new RockpoolError("INVALID_ARGUMENT", `--io-size is "${text}"`, "Such as 64MB");
      const threads = countOf(given.value("threads") ?? "4", "--threads");
      if (threads < 1 || threads > THREADS_MAX)
        throw new RockpoolError(
          "INVALID_ARGUMENT",
          `--threads is ${threads}`,
          `Give 1 to ${THREADS_MAX}`,
        );
      const { path, configuration } = locationOf(session, given);
      const { write, read } = await parts.measure(path, { bytesEach, threads, configuration });
      const errors = [...write.errors, ...read.errors];
      const report = {
        parameters: { path, ioSize: bytesEach, threads },
        writeSpeedStat: speedJson(write),
        readSpeedStat: speedJson(read),
        errors,
      };
      await say(session.console, JSON.stringify(report, null, 2));
      return errors.length === 0 ? EXIT_OK : EXIT_FAILED;
    },
  };
}

export function storeTestCommands(parts: StoreTestParts): CommandTable {
  return { ufsTest: ufsTest(parts), ufsIOTest: ufsIOTest(parts) };
}
