/**
 * Who may do what: posix bits of owner, group and others.
 *
 * Pure. To reach a path, execute is needed on every directory above it; to change the entries of a directory,
 * write and execute on it. The superuser passes. Messages are Alluxio's.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import { ROOT_PATH } from "../common/path.ts";
import type { Principal } from "./api.ts";
import type { Inode } from "./inode.ts";
import type { Walk } from "./inode_tree.ts";

export const READ = 4;
export const WRITE = 2;
export const EXECUTE = 1;

function textOfBits(bits: number): string {
  return `${bits & READ ? "r" : "-"}${bits & WRITE ? "w" : "-"}${bits & EXECUTE ? "x" : "-"}`;
}

function textOfMode(mode: number): string {
  return textOfBits(mode >> 6) + textOfBits(mode >> 3) + textOfBits(mode);
}

/** Whether the class that a principal falls in (owner, else group, else others) has all the bits. */
export function mayAccess(principal: Principal, inode: Inode, bits: number): boolean {
  if (principal.isSuperuser) return true;
  const shift = principal.user === inode.owner ? 6 : principal.groups.includes(inode.group) ? 3 : 0;
  return ((inode.mode >> shift) & bits) === bits;
}

function refuse(principal: Principal, bits: number, walk: Walk, at: Inode): never {
  const place = at.name === "" ? ROOT_PATH : at.name;
  throw new RockpoolError(
    "PERMISSION_DENIED",
    `Permission denied: user=${principal.user}, access=${textOfBits(bits)}, path=${walk.path}: ` +
      `failed at ${place}, inode owner=${at.owner}, inode group=${at.group}, ` +
      `inode mode=${textOfMode(at.mode)}`,
    "Ask the owner for access, or act as the superuser",
  );
}

/** @throws RockpoolError PERMISSION_DENIED when a directory above the path may not be passed */
export function checkTraversal(principal: Principal, walk: Walk): void {
  const closed = closedTo(principal, walk);
  if (closed !== undefined) refuse(principal, EXECUTE, walk, closed);
}

/** Whether all directories above the path, of those there are, may be passed. */
export function mayTraverse(principal: Principal, walk: Walk): boolean {
  return closedTo(principal, walk) === undefined;
}

function closedTo(principal: Principal, walk: Walk): Inode | undefined {
  if (principal.isSuperuser) return undefined;
  const above = walk.missing.length === 0 ? walk.inodes.slice(0, -1) : walk.inodes;
  return above.find((inode) => inode.kind === "directory" && !mayAccess(principal, inode, EXECUTE));
}

/** Bits on an inode of the walk; traversal is checked apart. */
export function checkAccessTo(principal: Principal, walk: Walk, inode: Inode, bits: number): void {
  if (!mayAccess(principal, inode, bits)) refuse(principal, bits, walk, inode);
}

/** @throws RockpoolError PERMISSION_DENIED unless the principal owns the inode (or is the superuser) */
export function checkOwner(principal: Principal, inode: Inode, place: string): void {
  if (principal.isSuperuser || principal.user === inode.owner) return;
  throw new RockpoolError(
    "PERMISSION_DENIED",
    `Permission denied: user=${principal.user} is not the owner of path=${place}`,
    `Only ${inode.owner} and the superuser may do this`,
  );
}

/** @throws RockpoolError PERMISSION_DENIED unless the principal is the superuser */
export function checkSuperuser(principal: Principal): void {
  if (principal.isSuperuser) return;
  throw new RockpoolError(
    "PERMISSION_DENIED",
    `Permission denied: ${principal.user} is not a super user or in super group`,
    "Act as the user that runs the master, or join the super group",
  );
}
