/**
 * Alluxio paths: absolute, slash-separated, normalised once where they enter.
 * Source of the rules: AlluxioURI and PathUtils of the 2.9 client, plus limits of ours.
 * @module
 */
import { RockpoolError } from "./errors.ts";
import { NAME_BYTES_MAX, PATH_BYTES_MAX, PATH_DEPTH_MAX } from "./limits.ts";

/** A path that `parsePath` has checked: "/" or "/a/b", no empty, "." or ".." component. */
export type Path = string & { readonly __path: true };

export const ROOT_PATH = "/" as Path;

const utf8 = new TextEncoder();

function refuse(input: string, why: string, remedy: string): never {
  const shown = input.length > 120 ? `${input.slice(0, 117)}...` : input;
  throw new RockpoolError("INVALID_ARGUMENT", `Path "${shown}" is invalid: ${why}`, remedy);
}

/**
 * Checks and normalises a path: repeated and trailing slashes go, "." components go.
 * @throws RockpoolError INVALID_ARGUMENT for a relative path, "..", NUL, or a path beyond the limits
 */
export function parsePath(input: string): Path {
  if (!input.startsWith("/")) refuse(input, "it is not absolute", "Begin the path with a slash");
  if (input.includes("\0")) refuse(input, "it contains a NUL character", "Remove the character");
  const names = input.split("/").filter((name) => name !== "" && name !== ".");
  if (names.length > PATH_DEPTH_MAX)
    refuse(input, `it has more than ${PATH_DEPTH_MAX} components`, "Use a flatter tree");
  for (const name of names) {
    if (name === "..") refuse(input, 'it contains ".."', "Give the path without it");
    if (name.length * 3 > NAME_BYTES_MAX && utf8.encode(name).length > NAME_BYTES_MAX)
      refuse(input, `a name is longer than ${NAME_BYTES_MAX} bytes`, "Use shorter names");
  }
  const path = `/${names.join("/")}`;
  if (path.length * 3 > PATH_BYTES_MAX && utf8.encode(path).length > PATH_BYTES_MAX)
    refuse(input, `it is longer than ${PATH_BYTES_MAX} bytes`, "Use shorter names");
  return path as Path;
}

/** The components of a path; none for the root. */
export function namesOf(path: Path): readonly string[] {
  return path === "/" ? [] : path.slice(1).split("/");
}

/** The last component; "" for the root. */
export function nameOf(path: Path): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** The parent directory; the root is its own parent. */
export function parentOf(path: Path): Path {
  const at = path.lastIndexOf("/");
  return (at <= 0 ? "/" : path.slice(0, at)) as Path;
}

/** A child of a directory. `name` must be one component of a checked path. */
export function childOf(parent: Path, name: string): Path {
  return (parent === "/" ? `/${name}` : `${parent}/${name}`) as Path;
}

/** True when `path` is `ancestor` or lies below it. */
export function isWithin(ancestor: Path, path: Path): boolean {
  return ancestor === "/" || path === ancestor || path.startsWith(`${ancestor}/`);
}
