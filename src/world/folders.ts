/**
 * Makes folders, in bounded time.
 *
 * Node's recursive mkdir never ends where a folder exists and its children cannot be made for lack of it, as below /proc.
 * Here each level is made once, from the first one that is missing.
 * @module
 */
import { mkdirSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { messageOf, RockpoolError } from "../common/errors.ts";

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code ?? ""; // fs throws ErrnoException only

/** Null when there is nothing. */
function kindOf(path: string): "folder" | "other" | null {
  try {
    return statSync(path).isDirectory() ? "folder" : "other";
  } catch (error) {
    if (codeOf(error) === "ENOENT") return null;
    if (codeOf(error) === "ENOTDIR") return null; // the file in the way is found further up
    throw error;
  }
}

/** In words, why a folder cannot be made in another one. */
function reasonOf(error: unknown, parent: string): string {
  switch (codeOf(error)) {
    case "EACCES":
    case "EPERM":
      return `this user may not write in ${parent}`;
    case "ENOENT":
      return `nothing can be made in ${parent}`;
    case "ENOTDIR":
      return `${parent} is not a folder`;
    case "EROFS":
      return `${parent} is read-only`;
    case "ENOSPC":
    case "EDQUOT":
      return `${parent} has no room`;
    default:
      return messageOf(error);
  }
}

/**
 * Makes a folder with those above it; one that is there is fine.
 * @param what the thing whose folder it is, for the message: "the journal"
 * @param remedy what to do when it cannot be made: "Set … to a folder of yours"
 * @returns the topmost folder that was made, null when nothing was
 * @throws RockpoolError UNAVAILABLE with path, reason and remedy
 */
export function makeFolder(path: string, what: string, remedy: string): string | null {
  const missing: string[] = [];
  let at = resolve(path);
  const refuse = (reason: string, cause?: unknown) =>
    new RockpoolError(
      "UNAVAILABLE",
      `Cannot make the folder ${path} of ${what}: ${reason}`,
      remedy,
      {
        cause,
      },
    );
  try {
    let kind = kindOf(at);
    while (kind === null) {
      missing.push(at);
      at = dirname(at);
      kind = kindOf(at);
    }
    if (kind === "other") throw refuse(`${at} is not a folder`);
    for (const folder of missing.toReversed()) {
      at = dirname(folder);
      makeOne(folder);
    }
  } catch (error) {
    if (error instanceof RockpoolError) throw error;
    throw refuse(reasonOf(error, at), error);
  }
  return missing.at(-1) ?? null;
}

/** Somebody else may make it at the same moment. */
function makeOne(folder: string): void {
  try {
    mkdirSync(folder);
  } catch (error) {
    if (codeOf(error) !== "EEXIST" || kindOf(folder) !== "folder") throw error;
  }
}
