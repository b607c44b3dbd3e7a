/**
 * The mark beside an LMDB file that says whether its rows can be used: `opened.json`
 * {bootId, isClean, schemaVersion, sizeBytes, damage}.
 *
 * The store does not sync, so rows outlive a crash of the process and not one of the machine: a file that was not closed in
 * an earlier boot is worth nothing. Nor is one that is shorter than when it was closed, that holds rows of another version, or in
 * which damage was found.
 *
 * `opened.trial`, the word `used` or `checked`, is there while a process uses the store that may yet die of it (see `openLmdb`):
 * from the start for a while, and while rows are read for an image. `checked`: it is reading all rows, because the one before died.
 * It outlives a process and need not outlive the machine, after whose crash the store is worth nothing anyhow.
 * @module
 */
import {
  closeSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { headerFlaw } from "./lmdb_header.ts";

const MARK = "opened.json";
const TRIAL = "opened.trial";

export type Mark = {
  readonly bootId: string;
  readonly isClean: boolean;
  /** Of the rows, as their owner counts; NaN when the mark does not say. */
  readonly schemaVersion: number;
  /** Of the file when it was closed; 0 while it is open. */
  readonly sizeBytes: number;
  /** What was found wrong while it was open; null for nothing. */
  readonly damage: string | null;
};

function textOf(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

/** Empty where the system does not tell (not Linux): then only a clean end keeps the store. */
export function bootIdOf(path: string): string {
  return textOf(path)?.trim() ?? "";
}

/** Null when there is none, or one that vouches for nothing. */
export function readMark(folder: string): Mark | null {
  const text = textOf(join(folder, MARK));
  if (text === null) return null;
  try {
    // Looked at field by field below.
    const mark = JSON.parse(text) as { [name in keyof Mark]?: unknown };
    const { bootId, isClean, schemaVersion, sizeBytes, damage } = mark;
    return {
      bootId: String(bootId ?? ""),
      isClean: isClean === true,
      schemaVersion: typeof schemaVersion === "number" ? schemaVersion : Number.NaN,
      sizeBytes: typeof sizeBytes === "number" ? sizeBytes : 0,
      damage: typeof damage === "string" ? damage : null,
    };
  } catch (error) {
    if (error instanceof SyntaxError) return null; // torn by a crash
    throw error;
  }
}

export function writeMark(folder: string, mark: Mark): void {
  writeFileSync(join(folder, `${MARK}.new`), JSON.stringify(mark), { flush: true });
  renameSync(join(folder, `${MARK}.new`), join(folder, MARK));
  // Or the mark of a clean end could come back with the next boot, beside rows that were written behind it.
  const descriptor = openSync(folder, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** A flaw that is none for certain. */
export const DIED_OF =
  "two processes in a row ended while they used it, the second one while it checked all rows";

export type Trial = "used" | "checked";

/** Null: the last process that had the store open did not die of it. */
export function readTrial(folder: string): Trial | null {
  const text = textOf(join(folder, TRIAL));
  return text === "checked" ? text : text === null ? null : "used";
}

export function writeTrial(folder: string, trial: Trial | null): void {
  if (trial === null) rmSync(join(folder, TRIAL), { force: true });
  else writeFileSync(join(folder, TRIAL), trial);
}

type Expected = {
  readonly bootId: string;
  readonly schemaVersion: number;
  /** Of LMDB's file, which may be missing. */
  readonly path: string;
};

/** Why the store in a folder cannot be used; null when it can. */
export function flawOf(folder: string, expected: Expected): string | null {
  const mark = readMark(folder);
  const sizeBytes = statSync(expected.path, { throwIfNoEntry: false })?.size;
  if (sizeBytes === undefined) return "its file is missing";
  const flaw = markFlaw(mark, sizeBytes, expected);
  if (flaw !== null) return flaw;
  const damage = headerFlaw(expected.path);
  if (damage !== null) return `LMDB cannot open it: ${damage}`;
  const hasDied = mark?.isClean !== true && readTrial(folder) === "checked";
  return hasDied ? DIED_OF : null;
}

function markFlaw(mark: Mark | null, sizeBytes: number, expected: Expected): string | null {
  if (mark === null) return "nothing says how it was closed";
  if (mark.damage !== null) return mark.damage;
  if (Number.isNaN(mark.schemaVersion)) return "it does not say of which version its rows are";
  if (mark.schemaVersion !== expected.schemaVersion)
    return `its rows are of version ${mark.schemaVersion}, and this program uses version ${expected.schemaVersion}`;
  if (mark.isClean) {
    if (sizeBytes >= mark.sizeBytes) return null;
    return `its file has ${sizeBytes} B, and had ${mark.sizeBytes} when it was closed`;
  }
  if (expected.bootId !== "" && mark.bootId === expected.bootId) return null;
  return "the machine ended without closing it";
}
