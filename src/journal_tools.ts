/**
 * Looks at and repairs the journal of a master that is down, for the command line.
 *
 * Joins what the parts can check: segments and mark, checkpoints, and the rows of the metadata store.
 * @module
 */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { RockpoolError } from "./common/errors.ts";
import type { Configuration } from "./conf/configuration.ts";
import { MasterKeys } from "./conf/master_keys.ts";
import { indexOfName, verifyCheckpoint } from "./journal/checkpoint_file.ts";
import { nodeFileSystem } from "./journal/file_system.ts";
import { type ReadingNote, readJournal } from "./journal/inspect_journal.ts";
import { repairJournal } from "./journal/repair_journal.ts";
import { verifyJournal } from "./journal/verify_journal.ts";
import { commandsOf, textOf } from "./journal_entry_text.ts";
import { crc32c } from "./kernels/fallback.ts";
import {
  adviceForShared,
  isSharedJournal,
  readShared,
  verifyShared,
} from "./shared_journal_tools.ts";
import type { JournalToolParts, ReadEntry, VerifyOutcome } from "./shell/journal_tools.ts";
import { nodeWorld } from "./world/node_world.ts";

function folderOf(configuration: Configuration, given: string | null): string {
  const folder = given ?? configuration.get(MasterKeys.journalFolder);
  if (existsSync(folder)) return folder;
  throw new RockpoolError(
    "NOT_FOUND",
    `The journal folder ${folder} does not exist`,
    `Set ${MasterKeys.journalFolder.key}, or name another one with --input-dir`,
  );
}

function noteText(note: ReadingNote): string {
  return note.kind === "trimmed"
    ? `The running master has removed entries ${note.firstIndex} to ${note.lastIndex} meanwhile: a checkpoint holds them. It goes on behind them`
    : `What comes after entry ${note.lastIndex} is damaged, in ${note.path}: \`bin/rockpool journal verify\` says what can be done`;
}

async function checkpointLines(folder: string): Promise<VerifyOutcome> {
  const lines: string[] = [];
  let isDamaged = false;
  for (const name of readdirSync(folder).sort()) {
    if (indexOfName(name) === null) continue;
    const path = join(folder, name);
    const file = nodeFileSystem().openSync(path, "read");
    try {
      const { imageBytes, snapshot } = await verifyCheckpoint(file, path, crc32c);
      lines.push(
        `Checkpoint ${path}: sound, ${imageBytes} B, everything through entry ${snapshot.index}`,
      );
    } catch (error) {
      if (!(error instanceof RockpoolError)) throw error;
      isDamaged = true;
      lines.push(`damaged: ${error.message}`, `    ${error.remedy}`.trimEnd());
    } finally {
      file.close();
    }
  }
  return { lines: lines.filter((line) => line.trim() !== ""), isDamaged };
}

async function verify(
  configuration: Configuration,
  given: string | null,
  isDeep: boolean,
): Promise<VerifyOutcome> {
  const folder = folderOf(configuration, given);
  const report = verifyJournal(folder, crc32c);
  const { segmentCount, batchCount, checkedBytes, firstIndex, lastIndex, promised } = report;
  const range =
    lastIndex < firstIndex ? "no entries" : `entries ${firstIndex} to ${lastIndex} can be read`;
  const lines = [
    `Journal ${folder}: ${segmentCount} segments, ${batchCount} batches, ${checkedBytes} B checked; ${range}`,
    ...report.problems.flatMap(({ severity, text, remedy }) => [
      `${severity}: ${text}`,
      `    ${remedy}`,
    ]),
    ...(promised === null
      ? []
      : [
          `Entries through ${promised.index} were acknowledged and are to be fetched from the other masters`,
        ]),
  ];
  const isDamaged = report.problems.some(({ severity }) => severity === "damaged");
  if (!isDeep) return { lines, isDamaged };
  const checkpoints = await checkpointLines(folder);
  return {
    lines: [...lines, ...checkpoints.lines],
    isDamaged: isDamaged || checkpoints.isDamaged,
  };
}

function* read(folder: string, from: number, onNote: (text: string) => void): Generator<ReadEntry> {
  const entries = readJournal(folder, crc32c, { from, onNote: (note) => onNote(noteText(note)) });
  for (const entry of entries)
    for (const each of commandsOf(entry))
      yield { index: each.index, term: each.term, kind: each.kind, text: textOf(each) };
}

export const journalTools: JournalToolParts = {
  verify: (configuration, given, isDeep) =>
    isSharedJournal(configuration, given)
      ? verifyShared(configuration, given, isDeep)
      : verify(configuration, given, isDeep),
  async read(configuration, given, from, onNote) {
    if (isSharedJournal(configuration, given))
      return { type: "UFS", entries: await readShared(configuration, given, from, onNote) };
    const folder = folderOf(configuration, given);
    return { type: "EMBEDDED", entries: read(folder, from ?? 1, onNote) };
  },
  async repair(configuration, given, acceptLossAfter) {
    if (isSharedJournal(configuration, given))
      return {
        kind: "advice",
        lines: await adviceForShared(configuration, given, acceptLossAfter),
      };
    const repaired = await repairJournal({
      folder: folderOf(configuration, given),
      crc32c,
      fileSystem: nodeFileSystem(),
      timers: nodeWorld().timers,
      clock: nodeWorld().clock,
      acceptLossAfter,
    });
    return { kind: "repaired", ...repaired };
  },
};
