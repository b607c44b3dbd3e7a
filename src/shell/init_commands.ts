/**
 * `init format`, `journal format`, `cache format`, `init copy-dir`.
 *
 * Formatting looks at every host first: when one cannot be reached, or runs a daemon, nothing is formatted anywhere; when
 * there is something to lose and a person sits at the terminal, they are asked once. A master loses its journal and
 * metadata, a worker the blocks in its own folders; nothing here opens the under store.
 * @module
 */
import { existsSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { RockpoolError } from "../common/errors.ts";
import type { Configuration } from "../conf/configuration.ts";
import { MasterKeys } from "../conf/master_keys.ts";
import { hasSharedJournal } from "../conf/shared_journal.ts";
import { TIER_KEYS, WorkerKeys } from "../conf/worker_keys.ts";
import { copyToHosts } from "../launch/copy_files.ts";
import { failureLines, type HostOutcome, runOnHosts } from "../launch/group.ts";
import type { FlagSpec, ParsedArguments } from "./arguments.ts";
import { allHosts, hostRunnerOf, hostsOf } from "./cluster_hosts.ts";
import type { Command, CommandTable } from "./command.ts";
import { EXIT_FAILED, EXIT_OK, say } from "./console.ts";
import { HostDaemon } from "./host_daemon.ts";
import type { ProcessParts } from "./process_commands.ts";
import type { Kind } from "./process_words.ts";
import type { Session } from "./session.ts";

const ONLY_NEW: FlagSpec = { names: ["s"], help: "only what was never formatted" };
const YES: FlagSpec = { names: ["y", "yes"], help: "do not ask" };
const LOOK: FlagSpec = { names: ["look"], help: "only say whether there is something to lose" };

/** What a look at a host ends with. */
const EMPTY = "nothing is there yet";

const filesIn = (folder: string) => (existsSync(folder) ? readdirSync(folder) : []);

function cacheFolders(configuration: Configuration): readonly string[] {
  const data = configuration.get(WorkerKeys.dataFolder);
  return TIER_KEYS.slice(0, configuration.get(WorkerKeys.tierLevels))
    .flatMap((tier) => configuration.get(tier.path) ?? [])
    .map((path) => join(path, data));
}

/** Folders that hold something that formatting would remove. */
async function usedFolders(
  kind: Kind,
  configuration: Configuration,
  { usedSharedJournal }: ProcessParts,
): Promise<readonly string[]> {
  if (kind === "master" && hasSharedJournal(configuration)) {
    const used = await usedSharedJournal(configuration);
    return used === null ? [] : [used];
  }
  const journal = [configuration.get(MasterKeys.journalFolder)];
  const folders = kind === "master" ? journal : cacheFolders(configuration);
  return folders.filter((folder) => filesIn(folder).length > 0);
}

function lossOf(kind: Kind, folders: readonly string[]): string {
  const where = folders.join(", ");
  return kind === "master"
    ? `The journal in ${where} is not empty: formatting deletes all metadata`
    : `The cache in ${where} is not empty: formatting deletes its blocks, and with them files that are not persisted`;
}

async function agrees(session: Session, losses: readonly string[]): Promise<boolean> {
  const { ask } = session.console;
  if (ask === null || losses.length === 0) return true;
  const answer = await ask(`${losses.join("\n")}. Go on? (y/N) `);
  return /^y(es)?$/i.test(answer.trim());
}

function requireStopped(session: Session, kind: Kind): void {
  if (new HostDaemon(session, kind).running() === null) return;
  throw new RockpoolError(
    "FAILED_PRECONDITION",
    `The ${kind} of this host runs`,
    `Stop it first: rockpool process stop ${kind}`,
  );
}

async function formatHere(
  session: Session,
  kind: Kind,
  given: ParsedArguments,
  parts: ProcessParts,
): Promise<number> {
  const { console } = session;
  const { configuration } = session.loadFor(kind);
  requireStopped(session, kind);
  const used = await usedFolders(kind, configuration, parts);
  if (given.has("look")) {
    await say(console, used.length === 0 ? EMPTY : lossOf(kind, used));
    return EXIT_OK;
  }
  if (given.has("s") && used.length > 0) {
    await say(console, `The ${kind === "master" ? "journal" : "cache"} is formatted already`);
    return EXIT_OK;
  }
  const losses = used.length === 0 ? [] : [lossOf(kind, used)];
  if (!given.has("y") && !(await agrees(session, losses))) {
    await say(console, "Nothing was formatted.");
    return EXIT_FAILED;
  }
  const format = kind === "master" ? parts.formatMaster : parts.formatWorker;
  for (const folder of await format(configuration))
    await say(console, `Formatting ${kind} folder ${folder}`);
  await say(console, `Format successful on ${kind}.`);
  return EXIT_OK;
}

/** The words that format one kind on its host. */
const FORMAT_WORDS: Readonly<Record<Kind, readonly string[]>> = {
  worker: ["cache", "format"],
  master: ["journal", "format"],
};

class ClusterFormat {
  readonly #session: Session;
  readonly #given: ParsedArguments;
  readonly #mainScript: string;
  /** Workers first, as Alluxio does it. */
  readonly #kinds: readonly Kind[];

  constructor(session: Session, given: ParsedArguments, mainScript: string) {
    this.#session = session;
    this.#given = given;
    this.#mainScript = mainScript;
    this.#kinds = [
      ...(given.has("skip-worker") ? [] : ["worker" as const]),
      ...(given.has("skip-master") ? [] : ["master" as const]),
    ];
    if (this.#kinds.length === 0)
      throw new RockpoolError(
        "INVALID_ARGUMENT",
        "--skip-master and --skip-worker together leave nothing to format",
        "Give one of them, or none",
      );
  }

  async run(): Promise<number> {
    const { console } = this.#session;
    const seen = await this.#onHosts("look", [], async () => {});
    const unready = seen.filter(({ isOk }) => !isOk);
    if (unready.length > 0) {
      for (const { entry, line } of unready) await say(console, `${entry.host}: ${line}`);
      for (const line of failureLines(seen).slice(0, 1)) await say(console, line);
      await say(console, "Nothing was formatted on any host.");
      return EXIT_FAILED;
    }
    if (!(await this.#mayGoOn(seen))) {
      await say(console, "Nothing was formatted.");
      return EXIT_FAILED;
    }
    const flags = this.#given.has("s") ? ["-s"] : [];
    const outcomes = await this.#onHosts("y", flags, (line) => say(console, line));
    const lines = failureLines(outcomes);
    for (const line of lines) await say(console, line);
    if (lines.length > 0) return EXIT_FAILED;
    const words = { master: "master", worker: "workers" };
    const done = [...this.#kinds].reverse().map((kind) => words[kind]);
    await say(console, `Format successful on ${done.join(" and ")}.`);
    return EXIT_OK;
  }

  /** With -s only what is empty is formatted, so that nobody has to be asked. */
  async #mayGoOn(seen: readonly HostOutcome[]): Promise<boolean> {
    if (this.#given.has("y") || this.#given.has("s")) return true;
    const losses = seen.filter(({ result }) => result.stdout.trim() !== EMPTY);
    return agrees(
      this.#session,
      losses.map(({ entry, line }) => `${entry.host}: ${line}`),
    );
  }

  async #onHosts(
    mode: "look" | "y",
    flags: readonly string[],
    tell: (line: string) => Promise<void>,
  ): Promise<readonly HostOutcome[]> {
    const session = this.#session;
    const runner = hostRunnerOf(session, this.#mainScript);
    const groups = this.#kinds.map((kind) => ({ kind, hosts: hostsOf(session, kind) }));
    const definitions = session.definitions.map((definition) => `-D${definition}`);
    const outcomes: HostOutcome[] = [];
    for (const { kind, hosts } of groups) {
      const words = [...FORMAT_WORDS[kind], `--${mode}`, ...flags, ...definitions];
      outcomes.push(
        ...(await runOnHosts({
          runner,
          hosts,
          words: words.map((word) => (word === "--y" ? "-y" : word)),
          say: (line) => tell(line),
        })),
      );
    }
    return outcomes;
  }
}

function initFormat(parts: ProcessParts): Command {
  return {
    usage: "[-s] [-y] [--skip-master] [--skip-worker]",
    summary:
      "Formats the journal of every master in conf/masters and the storage of every worker in conf/workers. The under store is left alone.",
    flags: [
      ONLY_NEW,
      YES,
      { names: ["skip-master"], help: "leave the journals" },
      { names: ["skip-worker"], help: "leave the workers' storage" },
    ],
    argumentsMin: 0,
    argumentsMax: 0,
    run: (session, given) => new ClusterFormat(session, given, parts.mainScript).run(),
  };
}

function copyDir(parts: ProcessParts): Command {
  return {
    usage: "<path>",
    summary:
      "Copies a file or a folder to the same place on every host of conf/masters and conf/workers: by rsync, or by tar over ssh where there is none. What only the other host has is left there.",
    flags: [],
    argumentsMin: 1,
    argumentsMax: 1,
    async run(session, given) {
      const { console } = session;
      const path = resolve(console.cwd, given.positional[0] ?? "");
      if (!existsSync(path))
        throw new RockpoolError(
          "NOT_FOUND",
          `${path} does not exist`,
          "Name a file or folder, such as conf/alluxio-site.properties; from the current folder or from /",
        );
      const runner = hostRunnerOf(session, parts.mainScript);
      const outcomes = await copyToHosts({
        runner,
        hosts: allHosts(session),
        path,
        say: (line) => say(console, line),
      });
      const lines = failureLines(outcomes);
      for (const line of lines) await say(console, line);
      if (lines.length > 0) return EXIT_FAILED;
      await say(console, `${path} is the same on ${outcomes.length + 1} hosts, this one included`);
      return EXIT_OK;
    },
  };
}

/** Commands of the group `init`. */
export function initCommands(parts: ProcessParts): CommandTable {
  return { format: initFormat(parts), copyDir: copyDir(parts) };
}

/** `journal format` and `cache format`: this host alone. */
export function formatCommands(parts: ProcessParts): CommandTable {
  const command = (kind: Kind, summary: string): Command => ({
    usage: "[-s] [-y]",
    summary,
    flags: [ONLY_NEW, YES, LOOK],
    argumentsMin: 0,
    argumentsMax: 0,
    run: (session, given) => formatHere(session, kind, given, parts),
  });
  return {
    journal: command("master", "Formats the journal of this host's master."),
    cache: command("worker", "Formats the storage of this host's worker."),
  };
}
