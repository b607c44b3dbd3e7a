/**
 * `journal checkpoint` and `journal backup`. Texts are Alluxio 2.9.4's.
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises";
import { RockpoolError } from "../common/errors.ts";
import { BackupState } from "../proto/gen/meta_master.ts";
import type { FlagSpec } from "./arguments.ts";
import type { Command, CommandTable } from "./command.ts";
import { EXIT_OK, say } from "./console.ts";
import type { Session } from "./session.ts";

const DOT_EVERY_MS = 1000;
const ASK_FIRST_MS = 20;
const ASK_EVERY_MS = 500;

/** A dot a second for a person who waits. */
async function withDots<T>(session: Session, work: Promise<T>): Promise<T> {
  const { console } = session;
  if (!console.isTerminal) return work;
  let dots = 0;
  const timer = setInterval(() => {
    dots++;
    void console.out("."); // for a person: nobody waits for it
  }, DOT_EVERY_MS);
  try {
    return await work;
  } finally {
    clearInterval(timer);
    if (dots > 0) await say(console, "");
  }
}

const checkpoint: Command = {
  usage: "",
  summary:
    "Creates a checkpoint in the leading master's journal now, without a pause of writes. Every master makes its own from time to time anyway.",
  flags: [],
  argumentsMin: 0,
  argumentsMax: 0,
  async run(session) {
    const host = await withDots(session, (await session.admin()).checkpoint());
    await say(session.console, `Successfully took a checkpoint on master ${host}`);
    return EXIT_OK;
  },
};

/** Waits for the end of a backup, telling a person how far it is. */
async function backUp(session: Session, directory: string, isLocal: boolean): Promise<number> {
  const { console } = session;
  const admin = await session.admin();
  let status = await admin.beginBackup(directory, isLocal);
  const { backupId = "" } = status;
  for (let pauseMs = ASK_FIRST_MS; status.backupState !== BackupState.Completed; ) {
    if (status.backupState === BackupState.None)
      throw new RockpoolError(
        "ABORTED",
        "Backup lost. Please check Alluxio logs.",
        "Another master leads now: start it again",
      );
    await sleep(pauseMs);
    pauseMs = Math.min(ASK_EVERY_MS, 2 * pauseMs);
    status = await admin.backupStatus(backupId);
    const count = status.entryCount ?? 0;
    if (console.isTerminal)
      await console.out(`\r Backup state: Running | Entries processed: ${count}`);
  }
  if (console.isTerminal) await console.out(`\r${" ".repeat(75)}\r`);
  await say(console, `Backup Host        : ${status.backupHost ?? ""}`);
  await say(console, `Backup URI         : ${status.backupUri ?? ""}`);
  await say(console, `Backup Entry Count : ${status.entryCount ?? 0}`);
  return EXIT_OK;
}

const FLAGS: readonly FlagSpec[] = [
  {
    names: ["local"],
    help: "onto the leading master's own disk and not into the root's under store",
  },
  { names: ["allow-leader"], help: "accepted: the leader makes it in any case, without a pause" },
  { names: ["bypass-delegation"], help: "accepted: as above" },
];

/** `fsadmin backup [directory]`. */
export const backup: Command = {
  usage: "[directory] [--local] [--allow-leader] [--bypass-delegation]",
  summary:
    "Backs up all metadata to the configured directory of the root's under store, or to the one given. Writes go on meanwhile.",
  flags: FLAGS,
  argumentsMin: 0,
  argumentsMax: 1,
  run: (session, given) => backUp(session, given.positional[0] ?? "", given.has("local")),
};

/** `journal backup [--path D]`. */
const journalBackup: Command = {
  ...backup,
  usage: "[--path <directory>] [--local] [--allow-leader] [--bypass-delegation]",
  flags: [{ names: ["path", "backup-path"], value: "directory", help: "where it goes" }, ...FLAGS],
  run: (session, given) =>
    backUp(session, given.value("path") ?? given.positional[0] ?? "", given.has("local")),
};

export const JOURNAL_COMMANDS: CommandTable = { checkpoint, backup: journalBackup };
