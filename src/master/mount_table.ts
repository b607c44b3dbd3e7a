/**
 * Which under store a path lies in, and where there.
 *
 * Pure. Locations in under stores are URIs or plain absolute paths, as the mount names them, without a
 * trailing slash; a path below the mount is appended as it is.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import { invariant } from "../common/invariant.ts";
import { isWithin, type Path, parsePath } from "../common/path.ts";
import { TEMPORARY_PREFIX } from "../ufs/under_file_system.ts";
import type { MountRow } from "./inode.ts";

export type MountedPath = { readonly mount: MountRow; readonly ufsPath: string };

/** A location without its trailing slashes ("file:///" and "/" become an empty path below the authority). */
export function trimUfsUri(uri: string): string {
  return uri.replace(/\/+$/, "");
}

function below(path: Path, ancestor: string): string {
  if (ancestor === "/") return path === "/" ? "" : path;
  return path.slice(ancestor.length);
}

export function isUfsWithin(ancestor: string, ufsPath: string): boolean {
  return ufsPath === ancestor || ufsPath.startsWith(`${ancestor}/`);
}

export class MountTable {
  readonly rows: readonly MountRow[];

  constructor(rows: readonly MountRow[]) {
    this.rows = rows;
  }

  /** The innermost mount of a path. */
  resolve(path: Path): MountedPath {
    let found: MountRow | undefined;
    for (const row of this.rows)
      if (
        isWithin(row.path as Path, path) &&
        (found === undefined || row.path.length > found.path.length)
      )
        found = row;
    invariant(found !== undefined, "the root is mounted");
    const ufsPath = `${trimUfsUri(found.ufsUri)}${below(path, found.path)}`;
    return { mount: found, ufsPath: ufsPath === "" ? "/" : ufsPath };
  }

  isMountPoint(path: Path): boolean {
    return this.rows.some((row) => row.path === path);
  }

  /** @throws RockpoolError INVALID_ARGUMENT when no mount covers the location */
  reverse(ufsUri: string): { readonly mount: MountRow; readonly path: Path } {
    const wanted = trimUfsUri(ufsUri.replace(/^file:\/\/(?=\/)/, ""));
    for (const row of this.rows) {
      const root = trimUfsUri(row.ufsUri.replace(/^file:\/\/(?=\/)/, ""));
      if (!isUfsWithin(root, wanted)) continue;
      const path = parsePath(`${row.path}/${wanted.slice(root.length)}`);
      return { mount: row, path };
    }
    throw new RockpoolError(
      "INVALID_ARGUMENT",
      `No mount point covers the under store location ${ufsUri}`,
      "List the mount points with `rockpool fs mount`",
    );
  }

  /** @throws RockpoolError PERMISSION_DENIED for a path under a read-only mount */
  checkWritable(path: Path): MountedPath {
    const mounted = this.resolve(path);
    if (mounted.mount.isReadOnly)
      throw new RockpoolError(
        "PERMISSION_DENIED",
        `A write operation on ${path} under a readonly mount point ${mounted.mount.path} is not allowed`,
        "Write below another mount point",
      );
    return mounted;
  }

  /** Where a worker puts a file before its name is decided; in the root of the mount, where no rename moves it. */
  temporaryFor(mount: MountRow, fileId: bigint): string {
    return `${trimUfsUri(mount.ufsUri)}/${TEMPORARY_PREFIX}persist.${fileId}`;
  }
}
