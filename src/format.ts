/**
 * Makes the folders of a master or a worker empty and ready: `init format`, and the first start of a local cluster.
 *
 * A master loses its journal and its metadata, a worker the blocks that it cached. Nothing here knows the under store,
 * so nothing in it can change.
 * @module
 */
import { existsSync, readdirSync, rmSync } from "node:fs";
import { isIP } from "node:net";
import { hostname, networkInterfaces } from "node:os";
import { join, relative, sep } from "node:path";
import { RockpoolError } from "./common/errors.ts";
import { journalMembership, requireOneTier, rootUnderStore } from "./conf/cluster.ts";
import type { Configuration } from "./conf/configuration.ts";
import { formatHostPort } from "./conf/key_spec.ts";
import { MasterKeys } from "./conf/master_keys.ts";
import { hasSharedJournal } from "./conf/shared_journal.ts";
import { TIER_KEYS, WorkerKeys } from "./conf/worker_keys.ts";
import { formatJournal } from "./journal/journal_format.ts";
import { crc32c } from "./kernels/fallback.ts";
import { METASTORE_FILE } from "./metastore_files.ts";
import { formatSharedJournal } from "./shared_journal.ts";
import { NOTES_LOCK, TEMPORARIES_FOLDER } from "./ufs/temporary_files.ts";
import { lockFolderAt } from "./world/folder_lock.ts";
import { makeFolder } from "./world/folders.ts";
import { nodeWorld } from "./world/node_world.ts";

/** Whether a host name means this machine, as far as that can be said without asking a name server. */
export function isLocalHost(host: string): boolean {
  if (host === "localhost" || host === hostname()) return true;
  if (isIP(host) === 0) return false;
  return Object.values(networkInterfaces()).some((list) =>
    (list ?? []).some(({ address }) => address === host),
  );
}

function makeJournalFolder(configuration: Configuration): void {
  const { key } = MasterKeys.journalFolder;
  const remedy = `Make it for the user that runs the master, or set ${key} to a folder of its own`;
  makeFolder(configuration.get(MasterKeys.journalFolder), `the journal (${key})`, remedy);
}

/** @returns the folders that were formatted. @throws RockpoolError when a running master has them open */
export async function formatMaster(
  configuration: Configuration,
  nowMs: number,
): Promise<readonly string[]> {
  rootUnderStore(configuration);
  const folder = hasSharedJournal(configuration)
    ? await formatSharedJournal(configuration, nodeWorld())
    : await formatEmbedded(configuration, nowMs);
  const metastore = configuration.get(MasterKeys.metastoreDir);
  for (const name of existsSync(metastore) ? readdirSync(metastore) : [])
    if (METASTORE_FILE.test(name)) rmSync(join(metastore, name), { force: true });
  return [folder, metastore];
}

async function formatEmbedded(configuration: Configuration, nowMs: number): Promise<string> {
  const folder = configuration.get(MasterKeys.journalFolder);
  const { members, self } = journalMembership(configuration, isLocalHost);
  makeJournalFolder(configuration);
  await formatJournal(folder, {
    address: formatHostPort(self),
    addresses: members.map(formatHostPort),
    crc32c,
    nowMs,
  });
  return folder;
}

/**
 * The folders of blocks, one for each directory of each tier.
 * @throws RockpoolError INVALID_ARGUMENT when one is not inside its directory: what lies beside the blocks is not ours
 */
export function blockFolders(configuration: Configuration): readonly string[] {
  const { dataFolder, tierLevels } = WorkerKeys;
  const data = configuration.get(dataFolder);
  return TIER_KEYS.slice(0, configuration.get(tierLevels))
    .flatMap((tier) => configuration.get(tier.path) ?? [])
    .map((path) => {
      const folder = join(path, data);
      const [first = ""] = relative(path, folder).split(sep);
      if (first !== "" && first !== "..") return folder;
      throw new RockpoolError(
        "INVALID_ARGUMENT",
        `${dataFolder.key}=${data} (${configuration.origin(dataFolder)}) is no folder inside of ${path}`,
        `Name a folder of its own, such as ${dataFolder.defaultText}`,
      );
    });
}

/** @returns what gives the folders back. @throws RockpoolError UNAVAILABLE when a running worker has them */
function lockFolders(folders: readonly string[]): () => void {
  const notes = join(folders[0] ?? "", TEMPORARIES_FOLDER);
  if (!existsSync(notes)) return () => {}; // no worker ever ran here
  return lockFolderAt(join(notes, NOTES_LOCK), {
    subject: `The cache in ${folders.join(", ")}`,
    remedy: "Stop that worker first: formatting would delete blocks that it is about to write",
    onTakenOver: () => {}, // of a worker that was killed
  });
}

/**
 * Removes what the worker cached: all inside its data folders, nothing outside.
 * @throws RockpoolError when a running worker has them, or when they are not inside the directories of the tiers
 */
export function formatWorker(configuration: Configuration): readonly string[] {
  requireOneTier(configuration);
  const folders = blockFolders(configuration);
  const unlock = lockFolders(folders);
  try {
    for (const folder of folders)
      for (const name of existsSync(folder) ? readdirSync(folder) : [])
        rmSync(join(folder, name), { recursive: true, force: true });
  } finally {
    unlock();
  }
  return folders;
}
