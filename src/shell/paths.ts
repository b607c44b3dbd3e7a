/**
 * Paths with wildcards: `*` stands for any characters within one component.
 * @module
 */
import type { FileStatus } from "../client/file_status.ts";
import type { CallOptions, FileSystem } from "../client/file_system.ts";
import { isRockpoolError, RockpoolError } from "../common/errors.ts";
import { parsePath } from "../common/path.ts";
import type { Session } from "./session.ts";

/** A path that an argument stands for, and the client that reaches it. */
export type Target = { readonly files: FileSystem; readonly path: string };

function matcher(pattern: string): (name: string) => boolean {
  const parts = pattern.split("*").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const expression = new RegExp(`^${parts.join(".*")}$`, "s");
  return (name) => expression.test(name);
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

/**
 * What an argument stands for: itself, or everything that its wildcards match.
 * @throws RockpoolError NOT_FOUND when a wildcard matches nothing
 */
export async function expand(session: Session, argument: string): Promise<readonly Target[]> {
  const { files, path } = await session.open(argument);
  const { signal } = session.console;
  if (!path.includes("*")) return [{ files, path: parsePath(path) }];
  let found = ["/"];
  for (const component of path.split("/").filter((name) => name !== "")) {
    const below = (parent: string) => (parent === "/" ? `/${component}` : `${parent}/${component}`);
    if (!component.includes("*")) found = found.map(below);
    else
      found = (
        await Promise.all(found.map((parent) => matches(files, parent, component, { signal })))
      ).flat();
  }
  // A plain component behind a wildcard may be missing in some of the matches.
  const last = path.slice(path.lastIndexOf("/") + 1);
  if (!last.includes("*")) found = await existing(files, found, { signal });
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
