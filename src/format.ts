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
import { join } from "node:path";
import { journalMembership, requireOneTier, rootUnderStore } from "./conf/cluster.ts";
import type { Configuration } from "./conf/configuration.ts";
import { formatHostPort } from "./conf/key_spec.ts";
import { MasterKeys } from "./conf/master_keys.ts";
import { TIER_KEYS, WorkerKeys } from "./conf/worker_keys.ts";
import { formatJournal } from "./journal/journal_format.ts";
import { crc32c } from "./kernels/fallback.ts";
import { makeFolder } from "./world/folders.ts";

/** Files of the metadata store; nothing else in its folder is touched. */
const METASTORE_FILE =
  /^((store(\.version-\d+|\.suspect)?|incoming)\.mdb(-lock)?|store\.lock|opened\.(json(\.new)?|trial))$/;

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
  const folder = configuration.get(MasterKeys.journalFolder);
  rootUnderStore(configuration);
  const { members, self } = journalMembership(configuration, isLocalHost);
  makeJournalFolder(configuration);
  await formatJournal(folder, {
    address: formatHostPort(self),
    addresses: members.map(formatHostPort),
    crc32c,
    nowMs,
  });
  const metastore = configuration.get(MasterKeys.metastoreDir);
  for (const name of existsSync(metastore) ? readdirSync(metastore) : [])
    if (METASTORE_FILE.test(name)) rmSync(join(metastore, name), { force: true });
  return [folder, metastore];
}

/** The folders of blocks, one for each directory of each tier. */
export function blockFolders(configuration: Configuration): readonly string[] {
  const data = configuration.get(WorkerKeys.dataFolder);
  return TIER_KEYS.slice(0, configuration.get(WorkerKeys.tierLevels))
    .flatMap((tier) => configuration.get(tier.path) ?? [])
    .map((path) => join(path, data));
}

/** Removes what the worker cached: all inside its data folders, nothing outside. */
export function formatWorker(configuration: Configuration): readonly string[] {
  requireOneTier(configuration);
  const folders = blockFolders(configuration);
  for (const folder of folders)
    for (const name of existsSync(folder) ? readdirSync(folder) : [])
      rmSync(join(folder, name), { recursive: true, force: true });
  return folders;
}
