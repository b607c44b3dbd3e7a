/**
 * `journal read`, `journal verify` and `journal repair`: the journal of this host's master, or the one that all share, without a master.
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

export type Reading = {
  readonly type: "EMBEDDED" | "UFS";
  readonly entries: Iterable<ReadEntry> | AsyncIterable<ReadEntry>;
};

export type RepairOutcome =
  /** Where the log ends now, and the files that keep the damaged bytes. */
  | {
      readonly kind: "repaired";
      readonly lastIndex: number;
      readonly keptFiles: readonly string[];
    }
  /** Nothing was done: it is for people to do. */
  | { readonly kind: "advice"; readonly lines: readonly string[] };

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
    /** Null: the first one that is of use. */
    from: number | null,
    onNote: (text: string) => void,
  ) => Promise<Reading>;
  readonly repair: (
    configuration: Configuration,
    folder: string | null,
    acceptLossAfter: number,
  ) => Promise<RepairOutcome>;
};

const INPUT: FlagSpec = {
  names: ["input-dir", "inputDir"],
  value: "place",
  help: "the journal's folder, or URI on its store (the configured one)",
};
const IS_URI = /^[a-z][a-z0-9+.-]*:\//i;
const LINE = "-".repeat(80);
const WRITE_CHARS = 1024 * 1024;
/** A person's terminal should not go silent over a long journal. */
const TELL_EVERY_ENTRIES = 100_000;

function folderOf(session: Session, given: string | undefined): string | null {
  if (given === undefined) return null;
  return IS_URI.test(given) ? given : resolve(session.console.cwd, given);
}

type Dump = {
  readonly entries: Reading["entries"];
  readonly end: number;
  readonly file: string;
};

/** @returns how many entries were written */
async function dump(session: Session, { entries, end, file }: Dump): Promise<number> {
  const descriptor = openSync(file, "w");
  let count = 0;
  let text = "";
  try {
    for await (const entry of entries) {
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
      usage: "[-start <n>] [-end <n>] [-input-dir <place>] [-output-dir <folder>]",
      summary: "Writes the entries of the journal as text, as far as they can be read.",
      flags: [
        {
          names: ["start"],
          value: "n",
          help: "first entry (0; of a shared journal the newest checkpoint's)",
        },
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
        const startText = given.value("start");
        const start = startText === undefined ? null : countOf(startText, "-start");
        const endText = given.value("end");
        const end = endText === undefined ? Number.POSITIVE_INFINITY : countOf(endText, "-end");
        const output = given.value("output-dir") ?? `journal_dump-${Date.now()}`;
        const folder = resolve(session.console.cwd, output);
        const { configuration } = session.loadFor("master");
        const notes: string[] = [];
        const { type, entries } = await parts.read(
          configuration,
          folderOf(session, given.value("input-dir")),
          start === null ? null : Math.max(1, start),
          (text) => notes.push(text),
        );
        await say(session.console, `Dumping journal of type ${type} to ${folder}`);
        mkdirSync(folder, { recursive: true });
        const count = await dump(session, { entries, end, file: join(folder, "edits.txt") });
        for (const note of notes) await say(session.console, note);
        await say(session.console, `Wrote ${count} entries to ${join(folder, "edits.txt")}`);
        return EXIT_OK;
      },
    },
    verify: {
      usage: "[--deep] [-input-dir <place>]",
      summary:
        "Checks every byte of the journal (this host's, or the one that masters share) and says what is wrong: 0 when nothing is damaged, 255 when something is. Changes nothing.",
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
      usage: "--accept-loss-after <n> [-input-dir <place>]",
      summary:
        "Gives up, for good, all entries after the given one: for a journal whose damaged entries no other master has. The damaged files are kept under another name. For a journal that masters share it only says what can be done.",
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
        const outcome = await parts.repair(
          configuration,
          folderOf(session, given.value("input-dir")),
          countOf(text, "--accept-loss-after"),
        );
        if (outcome.kind === "advice") {
          for (const line of outcome.lines) await say(session.console, line);
          return EXIT_FAILED;
        }
        for (const file of outcome.keptFiles)
          await say(session.console, `The damaged bytes are in ${file}`);
        await say(
          session.console,
          `The journal ends with entry ${outcome.lastIndex} now. Start the master.`,
        );
        return EXIT_OK;
      },
    },
  };
}
