/**
 * A tmpfs that holds the journal of one master, so that it can be filled.
 * @module
 */
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "../../src/common/errors.ts";

export type SmallDiskOptions = {
  /** A master whose journal lies on a tmpfs of this size; null for none. */
  readonly smallDisk: { readonly master: number; readonly sizeBytes: number } | null;
  readonly say: (line: string) => void;
};

/** A small disk holds the journal's folder: that may be removed, and the disk stays. */
export function mountSmallDisk(
  dir: string,
  { smallDisk, say }: SmallDiskOptions,
  mounted: string[],
): void {
  if (smallDisk === null) return;
  const folder = join(dir, `master-${smallDisk.master}`, "disk");
  mkdirSync(folder, { recursive: true });
  const words = ["-t", "tmpfs", "-o", `size=${smallDisk.sizeBytes}`, "tmpfs", folder];
  try {
    execFileSync("mount", words, { stdio: "pipe" });
    mounted.push(folder);
  } catch (error) {
    const [reason] = messageOf(error).split("\n");
    say(
      `!!! SKIPPED: the full disk. It needs a tmpfs, and this user may not mount one: ${reason} !!!`,
    );
  }
}

export function unmount(folders: string[]): void {
  for (const folder of folders.splice(0))
    execFileSync("umount", ["--lazy", folder], { stdio: "pipe" });
}
