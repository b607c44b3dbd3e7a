/**
 * `journal read`, `journal verify` and `journal repair`: the journal of this host's master, without the master.
 * @module
 */
import { closeSync, mkdirSync, openSync, writeSync } from "node:fs";
import { join, resolve } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import type { Configuration } from "../conf/configuration.ts";
import type { FlagSpec } from "./arguments.ts";
import { UsageError } from "./arguments.ts";
import { type CommandTable, countOf } from "./command.ts";
import { EXIT_FAILED, EXIT_OK, say } from "./console.ts";
import type { Session } from "./session.ts";

export type VerifyOutcome = { readonly lines: readonly string[]; readonly isDamaged: boolean };

export type ReadEntry = {
  readonly index: number;
  readonly term: number;
  readonly kind: string;
  readonly text: string;
};

/** What the joining program gives: parts that this one may not know. A folder of null is the configured one. */
export type JournalToolParts = {
  readonly verify: (
    configuration: Configuration,
    folder: string | null,
    isDeep: boolean,
  ) => Promise<VerifyOutcome>;
  readonly read: (
    configuration: Configuration,
    folder: string | null,
    from: number,
    onNote: (text: string) => void,
  ) => Iterable<ReadEntry>;
  /** @returns where the log ends now, and the files that keep the damaged bytes */
  readonly repair: (
    configuration: Configuration,
    folder: string | null,
    acceptLossAfter: number,
  ) => Promise<{ readonly lastIndex: number; readonly keptFiles: readonly string[] }>;
};

const INPUT: FlagSpec = {
  names: ["input-dir", "inputDir"],
  value: "folder",
  help: "the journal's folder (the configured one)",
};
const LINE = "-".repeat(80);
const WRITE_CHARS = 1024 * 1024;
/** A person's terminal should not go silent over a long journal. */
const TELL_EVERY_ENTRIES = 100_000;

function folderOf(session: Session, given: string | undefined): string | null {
  return given === undefined ? null : resolve(session.console.cwd, given);
}

type Dump = {
  readonly entries: Iterable<ReadEntry>;
  readonly end: number;
  readonly file: string;
};

/** @returns how many entries were written */
async function dump(session: Session, { entries, end, file }: Dump): Promise<number> {
  const descriptor = openSync(file, "w");
  let count = 0;
  let text = "";
  try {
    for (const entry of entries) {
      if (entry.index >= end || session.console.signal.aborted) break;
      text += `${LINE}\nsequence_number: ${entry.index}\nterm: ${entry.term}\nkind: ${entry.kind}\n${entry.text}\n`;
      count++;
      if (text.length > WRITE_CHARS) {
        writeSync(descriptor, text);
        text = "";
        await turn(); // or an interrupt would be heard of at the end only
      }
      if (count % TELL_EVERY_ENTRIES === 0) await say(session.console, `${count} entries`);
    }
    writeSync(descriptor, text);
  } finally {
    closeSync(descriptor);
  }
  return count;
}

export function journalToolCommands(parts: JournalToolParts): CommandTable {
  return {
    read: {
      usage: "[-start <n>] [-end <n>] [-input-dir <folder>] [-output-dir <folder>]",
      summary: "Writes the entries of this host's journal as text, as far as they can be read.",
      flags: [
        { names: ["start"], value: "n", help: "first entry (0)" },
        { names: ["end"], value: "n", help: "entry before which to stop (none)" },
        INPUT,
        {
          names: ["output-dir", "outputDir"],
          value: "folder",
          help: "where to write (./journal_dump-<ms since 1970>)",
        },
        { names: ["master"], value: "name", help: "accepted: there is one journal for all" },
      ],
      argumentsMin: 0,
      argumentsMax: 0,
      async run(session, given) {
        const start = countOf(given.value("start") ?? "0", "-start");
        const endText = given.value("end");
        const end = endText === undefined ? Number.POSITIVE_INFINITY : countOf(endText, "-end");
        const output = given.value("output-dir") ?? `journal_dump-${Date.now()}`;
        const folder = resolve(session.console.cwd, output);
        const { configuration } = session.loadFor("master");
        const notes: string[] = [];
        const entries = parts.read(
          configuration,
          folderOf(session, given.value("input-dir")),
          Math.max(1, start),
          (text) => notes.push(text),
        );
        await say(session.console, `Dumping journal of type EMBEDDED to ${folder}`);
        mkdirSync(folder, { recursive: true });
        const count = await dump(session, { entries, end, file: join(folder, "edits.txt") });
        for (const note of notes) await say(session.console, note);
        await say(session.console, `Wrote ${count} entries to ${join(folder, "edits.txt")}`);
        return EXIT_OK;
      },
    },
    verify: {
      usage: "[--deep] [-input-dir <folder>]",
      summary:
        "Checks every byte of this host's journal and says what is wrong: 0 when nothing is damaged, 255 when something is. Changes nothing.",
      flags: [{ names: ["deep"], help: "checkpoints too" }, INPUT],
      argumentsMin: 0,
      argumentsMax: 0,
      async run(session, given) {
        const { configuration } = session.loadFor("master");
        const folder = folderOf(session, given.value("input-dir"));
        const { lines, isDamaged } = await parts.verify(configuration, folder, given.has("deep"));
        for (const line of lines) await say(session.console, line);
        await say(session.console, isDamaged ? "The journal is damaged." : "The journal is sound.");
        return isDamaged ? EXIT_FAILED : EXIT_OK;
      },
    },
    repair: {
      usage: "--accept-loss-after <n> [-input-dir <folder>]",
      summary:
        "Gives up, for good, all entries after the given one: for a journal whose damaged entries no other master has. The damaged files are kept under another name.",
      flags: [
        { names: ["accept-loss-after"], value: "n", help: "the last entry that is kept" },
        INPUT,
      ],
      argumentsMin: 0,
      argumentsMax: 0,
      async run(session, given) {
        const text = given.value("accept-loss-after");
        if (text === undefined) throw new UsageError("Missing required option: accept-loss-after");
        const { configuration } = session.loadFor("master");
        const { lastIndex, keptFiles } = await parts.repair(
          configuration,
          folderOf(session, given.value("input-dir")),
          countOf(text, "--accept-loss-after"),
        );
        for (const file of keptFiles)
          await say(session.console, `The damaged bytes are in ${file}`);
        await say(
          session.console,
          `The journal ends with entry ${lastIndex} now. Start the master.`,
        );
        return EXIT_OK;
      },
    },
  };
}
