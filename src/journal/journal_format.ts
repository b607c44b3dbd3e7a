/**
 * The journal's folder on this machine: made and emptied.
 * @module
 */
import { nodeWorld } from "../world/node_world.ts";
import { nodeFileSystem } from "./file_system.ts";
import { type FormatOptions, formatFolder, IDENTITY_FILE } from "./journal_folder.ts";

/** As `formatFolder`, with the real disk. */
export function formatJournal(folder: string, options: FormatOptions): Promise<void> {
  return formatFolder(folder, options, nodeFileSystem(), nodeWorld().random);
}

export function isFormatted(folder: string): boolean {
  return nodeFileSystem().existsSync(`${folder}/${IDENTITY_FILE}`);
}
