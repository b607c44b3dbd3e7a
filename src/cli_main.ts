/**
 * The command line's entry: joins the commands to this process.
 * Everything that is not needed for every command is imported when it is.
 * @module
 */
import { setMaxListeners } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline/promises";
import { fileURLToPath } from "node:url";
import { messageOf } from "./common/errors.ts";
import { defaultHome } from "./conf/load.ts";
import type { LocalParts } from "./local/cluster.ts";
import { runCli, type ShellParts } from "./shell/cli.ts";
import { type Console, Interrupted } from "./shell/console.ts";

const here = dirname(fileURLToPath(import.meta.url));
const home = dirname(here);
const mainScript = join(here, "main.js");
const cliScript = join(here, "cli.cjs");

function version(): string {
  const text = readFileSync(join(home, "package.json"), "utf8");
  const found = (JSON.parse(text) as { version?: unknown }).version; // checked right below
  return typeof found === "string" ? found : "unknown";
}

/** What Ctrl-C and a reader that went away do to the command. */
const aborter = new AbortController();
// Every file of a tree that is copied listens to it: as many as there are streams, and no leak.
setMaxListeners(0, aborter.signal);

let isOutputGone = false;

/** Resolves when standard output has room, or nobody reads it any more. */
function roomInOutput(): Promise<void> {
  const { stdout } = process;
  return new Promise((resolve) => {
    const done = () => {
      stdout.off("drain", done);
      aborter.signal.removeEventListener("abort", done);
      resolve();
    };
    stdout.once("drain", done);
    aborter.signal.addEventListener("abort", done);
  });
}

function makeConsole(): Console {
  const { stdin, stdout, stderr } = process;
  const isTerminal = stdout.isTTY === true;
  return {
    // What was done before Ctrl-C took effect is still said.
    out: (text) => (isOutputGone || stdout.write(text) ? Promise.resolve() : roomInOutput()),
    err: (text) => stderr.write(text),
    isTerminal,
    ask:
      isTerminal && stdin.isTTY === true
        ? async (question) => {
            const reader = createInterface({ input: stdin, output: stdout });
            const answer = await reader.question(question);
            reader.close();
            return answer;
          }
        : null,
    env: process.env,
    cwd: process.cwd(),
    home: defaultHome(home, process.cwd()),
    signal: aborter.signal,
  };
}

/** The folder of the local cluster: ALLUXIO_HOME's, the current folder's, or the installation's if one is there. */
function localDir(): string {
  const base = process.env["ALLUXIO_HOME"];
  if (base !== undefined && base !== "") return join(base, "data");
  const folders = [process.cwd(), home].map((folder) => join(folder, "data"));
  return folders.find((folder) => existsSync(join(folder, "local.json"))) ?? folders[0] ?? "data";
}

async function localParts(): Promise<LocalParts> {
  const { formatMaster, formatWorker } = await import("./format.ts");
  const { loadConfiguration } = await import("./conf/load.ts");
  return {
    mainScript,
    async format({ kind, home: nodeHome, confDir, definitions }) {
      const { configuration } = loadConfiguration({
        kind,
        definitions,
        variables: {},
        home: nodeHome,
        confDir,
      });
      if (kind === "master") await formatMaster(configuration, Date.now());
      else formatWorker(configuration);
    },
  };
}

const parts: ShellParts = {
  version: version(),
  async runLocal(words, console) {
    const { runLocal } = await import("./local/commands.ts");
    return runLocal(words, {
      ...(await localParts()),
      cliScript,
      defaultDir: localDir(),
      say: (line) => void console.out(`${line}\n`), // a line for people: nobody waits for it
    });
  },
  async askZooKeeper(configuration, connect) {
    const { findMasters } = await import("./zookeeper_masters.ts");
    const { nodeWorld } = await import("./world/node_world.ts");
    return findMasters(configuration, nodeWorld(), connect);
  },
  local: localParts,
  cliScript,
  storeTests: async () => (await import("./store_tests.ts")).storeTests,
  journalTools: async () => (await import("./journal_tools.ts")).journalTools,
  processes: {
    mainScript,
    async formatMaster(configuration) {
      return (await import("./format.ts")).formatMaster(configuration, Date.now());
    },
    async usedSharedJournal(configuration) {
      return (await import("./shared_journal.ts")).usedShared(configuration);
    },
    async formatWorker(configuration) {
      return (await import("./format.ts")).formatWorker(configuration);
    },
  },
};

async function main(): Promise<void> {
  const words = process.argv.slice(2);
  // `rockpool fs cat x | head` closes our output: stop, and say nothing.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    isOutputGone = true;
    aborter.abort(error);
  });
  if (words[0] !== "local")
    // Once: a second one ends us as the system does.
    process.once("SIGINT", () => aborter.abort(new Interrupted()));
  // A command that nothing is left of before it has an outcome: a bug, and no success.
  process.exitCode = 70;
  process.exitCode = await runCli(words, makeConsole(), parts);
  // Given up: whatever still waits for an answer, nobody waits for that. Done: the shortest way out, on which a late
  // Ctrl-C cannot turn the exit code of what was done into another.
  if (aborter.signal.aborted || process.stdout.writableLength === 0) process.exit();
}

main().catch((error: unknown) => {
  // A bug: what a user can cause is printed as one line by runCli.
  process.stderr.write(`${error instanceof Error ? error.stack : messageOf(error)}\n`);
  process.exitCode = 70;
});
