/**
 * The daemons' entry: `main.js master|worker [--conf-dir DIR] [-Dkey=value …]`.
 *
 * Reads the configuration, starts logging, starts the daemon, and ends it: SIGTERM and SIGINT in order with
 * exit code 0 (a second one at once), a failed start and fatal conditions with a code of their own (`EXIT`).
 * Whatever is thrown and not caught is a bug: it is logged and ends the process.
 * @module
 */
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { EXIT, messageOf, RockpoolError } from "./common/errors.ts";
import { CommonKeys } from "./conf/common_keys.ts";
import type { Configuration } from "./conf/configuration.ts";
import { LiveConfiguration } from "./conf/live.ts";
import { defaultHome, type Loaded, loadConfiguration } from "./conf/load.ts";
import { namesWithoutEffect, requireSafe } from "./conf/standings.ts";
import { type Daemon, type DaemonContext, StartFailure } from "./daemon.ts";
import { nameWarnings } from "./launch/visible_name.ts";
import { createLogger } from "./telemetry/logger.ts";
import { createMetrics } from "./telemetry/metrics.ts";
import { createTelemetry } from "./telemetry/telemetry.ts";
import { nodeWorld } from "./world/node_world.ts";

const USAGE = "Usage: rockpool master|worker [--conf-dir DIR] [-Dkey=value ...]";

/** After SIGTERM: beyond what calls under way and the hand-over of leadership may take. */
const STOP_TIMEOUT_MS = 8_000;

type Arguments = {
  readonly kind: "master" | "worker";
  readonly confDir: string | undefined;
  readonly definitions: readonly string[];
};

function parseWords(words: readonly string[]): Arguments {
  const definitions = words.filter((word) => /^-D./.test(word)).map((word) => word.slice(2));
  try {
    const { values, positionals } = parseArgs({
      args: words.filter((word) => !/^-D./.test(word)),
      allowPositionals: true,
      options: { "conf-dir": { type: "string" } },
    });
    const [kind, ...rest] = positionals;
    if ((kind === "master" || kind === "worker") && rest.length === 0)
      return { kind, confDir: values["conf-dir"], definitions };
    throw new RockpoolError("INVALID_ARGUMENT", `"${positionals.join(" ")}" is no daemon`, USAGE);
  } catch (error) {
    if (error instanceof TypeError)
      throw new RockpoolError("INVALID_ARGUMENT", error.message, USAGE);
    throw error;
  }
}

function load({ kind, confDir, definitions }: Arguments): Loaded {
  const packageRoot = fileURLToPath(new URL("..", import.meta.url));
  const home = defaultHome(packageRoot, process.cwd());
  return loadConfiguration({ kind, definitions, variables: process.env, home, confDir });
}

function rootLevel(configuration: Configuration) {
  const level = configuration.get(CommonKeys.rockpoolLogLevel);
  return configuration.get(CommonKeys.debug) && level !== "trace" ? "debug" : level;
}

function openTelemetry(configuration: Configuration) {
  const { clock } = nodeWorld();
  const logger = createLogger({
    format: configuration.get(CommonKeys.rockpoolLogFormat),
    level: rootLevel(configuration),
    clock,
    fileDescriptor: 1,
  });
  const { levels } = logger;
  return { levels, telemetry: createTelemetry(logger, createMetrics(), levels) };
}

/** How a start that failed ends the process. */
function exitCodeOf(error: unknown): number {
  if (error instanceof StartFailure) return error.exitCode;
  if (!(error instanceof RockpoolError)) return EXIT.invariant;
  switch (error.status) {
    case "INVALID_ARGUMENT":
      return EXIT.usage;
    case "FAILED_PRECONDITION":
      return EXIT.notFormatted;
    case "DATA_LOSS":
      return EXIT.journalDamaged;
    default:
      return EXIT.cannotStart;
  }
}

async function createDaemon(kind: Arguments["kind"], context: DaemonContext): Promise<Daemon> {
  // Loaded when needed: a worker has no use for the code of masters, nor for lmdb.
  if (kind === "master") return (await import("./master_daemon.ts")).createMasterDaemon(context);
  return (await import("./worker_daemon.ts")).createWorkerDaemon(context);
}

function stopOnSignal(daemon: Daemon, { telemetry }: DaemonContext): void {
  const { logger } = telemetry;
  let isStopping = false;
  const stop = (signal: NodeJS.Signals) => {
    logger.log("info", "main", isStopping ? "endingAtOnce" : "stopping", { signal });
    if (isStopping) process.exit(EXIT.ok);
    isStopping = true;
    setTimeout(() => {
      logger.log("warn", "main", "stopTookTooLong", { afterMs: STOP_TIMEOUT_MS });
      process.exit(EXIT.ok);
    }, STOP_TIMEOUT_MS).unref();
    daemon.stop().then(
      () => {
        logger.log("info", "main", "stopped");
        process.exit(EXIT.ok);
      },
      (error: unknown) => {
        logger.log("error", "main", "stopFailed", { error });
        process.exit(EXIT.invariant);
      },
    );
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
}

async function run(words: readonly string[]): Promise<void> {
  const given = parseWords(words);
  const loaded = load(given);
  const { configuration } = loaded;
  const { levels, telemetry } = openTelemetry(configuration);
  const { logger } = telemetry;
  const fatal = (exitCode: number, message: string, detail: Readonly<Record<string, unknown>>) => {
    logger.log("fatal", "main", message, { ...detail, exitCode });
    logger.flush();
    process.exit(exitCode);
  };
  for (const event of ["uncaughtException", "unhandledRejection"] as const)
    process.on(event, (error) => fatal(EXIT.invariant, event, { error }));
  const context: DaemonContext = {
    configuration,
    live: new LiveConfiguration(configuration),
    telemetry,
    levels,
    world: nodeWorld(),
    fatal,
    scriptFolder: new URL(".", import.meta.url),
  };
  context.live.onChange((changed) => {
    if (changed.has(CommonKeys.debug.key) || changed.has(CommonKeys.rockpoolLogLevel.key))
      levels.setLevel("root", rootLevel(context.live.current));
  });
  logger.log("info", "main", "starting", {
    kind: given.kind,
    pid: process.pid,
    node: process.version,
    siteFile: loaded.siteFile ?? "none",
    home: configuration.get(CommonKeys.home),
    script: fileURLToPath(import.meta.url),
  });
  for (const text of [
    ...loaded.warnings,
    ...configuration.warnings,
    ...nameWarnings(given.kind, configuration),
  ])
    logger.log("warn", "conf", text);
  const names = namesWithoutEffect(configuration);
  if (names.length > 0)
    logger.log("info", "conf", "set, known, and without effect in this version", {
      names,
      reasons: "bin/alluxio init validate --type conf",
    });
  const startedMs = performance.now();
  try {
    requireSafe(configuration, given.kind);
    const daemon = await createDaemon(given.kind, context);
    stopOnSignal(daemon, context);
    const facts = await daemon.start();
    logger.log("info", "main", "started", {
      ...facts,
      tookMs: Math.round(performance.now() - startedMs),
    });
  } catch (thrown) {
    const error = thrown instanceof StartFailure ? thrown.cause : thrown;
    const isOurs = error instanceof RockpoolError;
    const detail = isOurs ? { remedy: error.remedy } : { error };
    fatal(exitCodeOf(thrown), `cannot start: ${messageOf(error)}`, detail);
  }
}

run(process.argv.slice(2)).catch((error: unknown) => {
  // Before there is a logger: the command line or the configuration is wrong.
  const isOurs = error instanceof RockpoolError;
  console.error(isOurs ? `${error.message}\n${error.remedy}` : error);
  process.exit(isOurs ? EXIT.usage : EXIT.invariant);
});
