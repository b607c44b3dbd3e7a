/**
 * A command: what it takes, what it says of itself, and what it does.
 * @module
 */
import { isRockpoolError, messageOf, RockpoolError } from "../common/errors.ts";
import type { CommandSpec, FlagSpec, ParsedArguments } from "./arguments.ts";
import type { Manual } from "./manual.ts";
import type { Session } from "./session.ts";

export type Command = CommandSpec & {
  /** What its page says beyond this; texts of manual_texts.ts come before it. */
  readonly manual?: Manual;
  /** Its standard output is the bytes of a file, which errors must not mix with. */
  readonly isOutputData?: boolean;
  /** It makes files, and after Ctrl-C removes those that are not whole: this is waited for. */
  readonly makesFiles?: boolean;
  /** Resolves to the exit code; a throw is printed as one line and ends with 255, after Ctrl-C with 130. */
  readonly run: (session: Session, given: ParsedArguments) => Promise<number>;
};

/** By name, as Alluxio 2.9 spells it. */
export type CommandTable = Readonly<Record<string, Command>>;

export const RECURSIVE: FlagSpec = {
  names: ["R", "r", "recursive"],
  help: "everything below a directory too",
};

/** The text of an error for a person: what happened, and what to do when that is known. */
export function errorText(error: unknown): string {
  if (!(error instanceof RockpoolError) || error.remedy === "") return messageOf(error);
  return `${messageOf(error)} (${error.remedy})`;
}

/** Alluxio 2.9.4 has it, this version has not. */
export function notSupported(what: string): RockpoolError {
  return new RockpoolError("UNIMPLEMENTED", `${what} is not supported by this version of Rockpool`);
}

/** Of several things to do, some failed: their reasons are in the message, one a line. */
export class PartialFailure extends Error {
  override readonly name = "PartialFailure";
}

/**
 * Whether an error says that nobody knows what was left behind. After Ctrl-C it is the only one that is shown, and the
 * exit code is 255: after 130 no half of a file is there.
 */
export function isLeftBehind(error: unknown): error is RockpoolError {
  return isRockpoolError(error, "UNKNOWN");
}

/** Does one thing after the other, all of them even when some fail. */
export async function forEachOf<T>(
  items: readonly T[],
  act: (item: T) => Promise<void>,
): Promise<void> {
  const failures: string[] = [];
  for (const item of items)
    try {
      await act(item);
    } catch (error) {
      if (items.length === 1 || isLeftBehind(error)) throw error;
      failures.push(errorText(error));
    }
  if (failures.length > 0) throw new PartialFailure(failures.join("\n"));
}

/** A whole number of 0 or more that an option gives. @throws RockpoolError INVALID_ARGUMENT */
export function countOf(text: string, flag: string): number {
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isNaN(value))
    throw new RockpoolError(
      "INVALID_ARGUMENT",
      `Option ${flag} is "${text}"`,
      "Give a whole number",
    );
  return value;
}
