/**
 * Paths with wildcards: `*` stands for any characters within one component, `\*` for itself.
 * @module
 */
import type { FileStatus } from "../client/file_status.ts";
import type { CallOptions, FileSystem } from "../client/file_system.ts";
import { isRockpoolError, RockpoolError } from "../common/errors.ts";
import { parsePath } from "../common/path.ts";
import type { Session } from "./session.ts";

/** A path that an argument stands for, and the client that reaches it. */
export type Target = { readonly files: FileSystem; readonly path: string };

/** A star without a backslash before it. */
const WILDCARD = /(?<!\\)\*/;
/** Directories that are listed at the same time. */
const LISTS_AT_ONCE = 16;

function hasWildcard(text: string): boolean {
  return WILDCARD.test(text);
}

/** The text without the backslashes that stood before stars. */
function literal(text: string): string {
  return text.replaceAll("\\*", "*");
}

/** Whether a name fits a component of a path. Each part is looked for once, so that no pattern takes long. */
export function matcher(pattern: string): (name: string) => boolean {
  const parts = pattern.split(new RegExp(WILDCARD, "g")).map(literal);
  const [first = "", ...rest] = parts;
  const last = rest.pop();
  return (name) => {
    if (last === undefined) return name === first;
    if (!name.startsWith(first) || name.length < first.length + last.length) return false;
    if (!name.endsWith(last)) return false;
    let at = first.length;
    for (const part of rest) {
      const found = name.indexOf(part, at);
      if (found < 0 || found + part.length > name.length - last.length) return false;
      at = found + part.length;
    }
    return true;
  };
}

export function missing(path: string): RockpoolError {
  return new RockpoolError("NOT_FOUND", `Path "${path}" does not exist.`);
}

/** Names in a directory that match; none when there is no such directory. */
async function matches(
  files: FileSystem,
  directory: string,
  pattern: string,
  options: CallOptions,
): Promise<string[]> {
  const fits = matcher(pattern);
  const found: string[] = [];
  try {
    const status = await files.getStatus(directory, options);
    if (!status.isDirectory) return [];
    for await (const child of files.listStatus(directory, options))
      if (fits(child.name)) found.push(child.path);
  } catch (error) {
    if (!isRockpoolError(error, "NOT_FOUND")) throw error;
  }
  return found.sort();
}

async function matchesIn(
  files: FileSystem,
  directories: readonly string[],
  pattern: string,
  options: CallOptions,
): Promise<string[]> {
  const found: string[] = [];
  for (let at = 0; at < directories.length; at += LISTS_AT_ONCE) {
    const some = directories.slice(at, at + LISTS_AT_ONCE);
    const lists = some.map((directory) => matches(files, directory, pattern, options));
    for (const list of await Promise.all(lists)) found.push(...list);
  }
  return found;
}

/**
 * What an argument stands for: itself, or everything that its wildcards match.
 * @throws RockpoolError NOT_FOUND when a wildcard matches nothing
 */
export async function expand(session: Session, argument: string): Promise<readonly Target[]> {
  const { files, path } = await session.open(argument);
  const { signal } = session.console;
  if (!hasWildcard(path)) return [{ files, path: parsePath(literal(path)) }];
  let found = ["/"];
  const components = path.split("/").filter((name) => name !== "");
  for (const component of components) {
    const name = literal(component);
    const below = (parent: string) => (parent === "/" ? `/${name}` : `${parent}/${name}`);
    if (!hasWildcard(component)) found = found.map(below);
    else found = await matchesIn(files, found, component, { signal });
  }
  // A plain component behind a wildcard may be missing in some of the matches.
  if (!hasWildcard(components.at(-1) ?? "")) found = await existing(files, found, { signal });
  if (found.length === 0) throw missing(path);
  return found.map((one) => ({ files, path: one }));
}

async function existing(
  files: FileSystem,
  paths: readonly string[],
  options: CallOptions,
): Promise<string[]> {
  const found: string[] = [];
  for (const path of paths) if (await files.exists(path, options)) found.push(path);
  return found;
}

/** All that several arguments stand for. */
export async function expandAll(
  session: Session,
  given: readonly string[],
): Promise<readonly Target[]> {
  const found: Target[] = [];
  for (const argument of given) found.push(...(await expand(session, argument)));
  return found;
}

/** The status of a path; in Alluxio's words when it is missing. */
export async function statusOf(target: Target): Promise<FileStatus> {
  try {
    return await target.files.getStatus(target.path);
  } catch (error) {
    if (isRockpoolError(error, "NOT_FOUND")) throw missing(target.path);
    throw error;
  }
}

export async function fileStatusOf(target: Target): Promise<FileStatus> {
  const status = await statusOf(target);
  if (status.isDirectory)
    throw new RockpoolError("INVALID_ARGUMENT", `Path "${target.path}" must be a file.`);
  return status;
}
