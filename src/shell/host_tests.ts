/**
 * Small commands about this host: `init clear-os-cache`, and `exec class`, which has nothing to run.
 * @module
 */
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { promisify } from "node:util";
import { messageOf, RockpoolError } from "../common/errors.ts";
import type { Command, CommandTable } from "./command.ts";
import { EXIT_OK, say } from "./console.ts";

const DROP_CACHES = "/proc/sys/vm/drop_caches";
/** Page cache, and what the kernel knows of files and directories. */
const EVERYTHING = "3\n";

const clearOsCache: Command = {
  usage: "",
  summary: "Drops the page cache of this host, so that what follows is read from the disk.",
  flags: [],
  argumentsMin: 0,
  argumentsMax: 0,
  async run(session) {
    // What is not written yet stays in the cache.
    await promisify(execFile)("sync");
    try {
      await writeFile(DROP_CACHES, EVERYTHING);
    } catch (error) {
      throw new RockpoolError(
        "PERMISSION_DENIED",
        `Cannot drop the page cache: ${messageOf(error)}`,
        `Run it as root, on a Linux host where ${DROP_CACHES} may be written`,
      );
    }
    await say(session.console, "The page cache of this host was dropped.");
    return EXIT_OK;
  },
};

const javaClass: Command = {
  usage: "<class> [argument ...]",
  summary: "Runs a class of Alluxio: there is none here.",
  flags: [],
  argumentsMin: 1,
  argumentsMax: Number.POSITIVE_INFINITY,
  run(_session, given) {
    return Promise.reject(
      new RockpoolError(
        "UNIMPLEMENTED",
        `Cannot run class ${given.positional[0]}: there is no JVM here, Rockpool runs on Node`,
        "Run it with Alluxio's own jars; `rockpool bench` measures, and `rockpool exec` tests",
      ),
    );
  },
};

export const INIT_COMMANDS: CommandTable = { "clear-os-cache": clearOsCache };
export const EXEC_COMMANDS: CommandTable = { class: javaClass };
