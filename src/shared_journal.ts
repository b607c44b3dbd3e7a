/**
 * A journal on a shared store, joined: configuration → store, identity, election → what stands in the place of the journal thread.
 * @module
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { isRockpoolError, RockpoolError } from "./common/errors.ts";
import { CommonKeys } from "./conf/common_keys.ts";
import type { Configuration } from "./conf/configuration.ts";
import { formatHostPort, type HostPort } from "./conf/key_spec.ts";
import { MasterKeys } from "./conf/master_keys.ts";
import { type DaemonContext, machineName } from "./daemon.ts";
import { nodeFileSystem } from "./journal/file_system.ts";
import type { ConnectThread, FromThread } from "./journal/journal_protocol.ts";
import { hex64 } from "./journal/member_ids.ts";
import { openKernels } from "./kernels/load.ts";
import { journalStoreOptions, openLogStore } from "./log_stores.ts";
import { METASTORE_FILE } from "./metastore_files.ts";
import type { LogStore } from "./ufs/log_store.ts";
import { Checkpoints } from "./ufs_journal/checkpoints.ts";
import type { Elector } from "./ufs_journal/elector.ts";
import { formatShared, isUsed, readIdentity, type SharedIdentity } from "./ufs_journal/identity.ts";
import { IdentityWatch } from "./ufs_journal/identity_watch.ts";
import { onThisThread } from "./ufs_journal/on_this_thread.ts";
import { UfsCore } from "./ufs_journal/ufs_core.ts";
import { UfsLog } from "./ufs_journal/ufs_log.ts";
import type { World } from "./world/ports.ts";
import { standingMasters } from "./zookeeper_masters.ts";

/** Checksums of loose bytes need no arena of their own. */
const ARENA_BYTES = 64 * 1024;
/** In the metadata folder: of which journal it is an image. */
const GROUP_FILE = "journal.group";
const WORK_FOLDER = "shared-journal";
const CHECKPOINT_INTERVAL_MS = 600_000;

export type SharedJournal = { readonly store: LogStore; readonly identity: SharedIdentity };

/** This master's address, as it is told to clients and to the other masters. */
export function ownRpcAddress(configuration: Configuration): string {
  const host = configuration.get(MasterKeys.hostname) ?? machineName(configuration);
  return formatHostPort({ host, port: configuration.get(MasterKeys.rpcPort) });
}

export function sharedStore(configuration: Configuration): LogStore {
  return openLogStore(
    configuration.get(MasterKeys.journalFolder),
    journalStoreOptions(configuration),
  );
}

/**
 * Opens the journal that was formatted there, and tries the store out.
 * @throws RockpoolError FAILED_PRECONDITION when there is none, or the store does not do; what the store says
 */
export async function openShared(configuration: Configuration): Promise<SharedJournal> {
  const store = sharedStore(configuration);
  const identity = await readIdentity(store);
  if (identity === null)
    throw new RockpoolError(
      "FAILED_PRECONDITION",
      `The journal ${store.uri} (${MasterKeys.journalFolder.key}) was never formatted`,
      "Run `bin/rockpool init format` once, before the first start",
    );
  await store.probe();
  return { store, identity };
}

/**
 * Makes an empty journal there, unless an empty one is there.
 * @throws RockpoolError FAILED_PRECONDITION when masters run that share it
 */
export async function formatSharedJournal(
  configuration: Configuration,
  world: World,
): Promise<string> {
  await requireNoMasters(configuration, world);
  const store = sharedStore(configuration);
  await store.probe();
  const identity = await readIdentity(store);
  if (identity === null || (await isUsed(store, identity))) await formatShared(store, world);
  return store.uri;
}

/** Without an answer of ZooKeeper nobody is known to run: whoever formats is asked before anything is lost. */
async function requireNoMasters(configuration: Configuration, world: World): Promise<void> {
  if (!configuration.get(MasterKeys.zookeeperEnabled)) return;
  let masters: readonly HostPort[];
  try {
    masters = await standingMasters(configuration, world);
  } catch (error) {
    if (isRockpoolError(error, "UNAVAILABLE")) return;
    throw error;
  }
  throw new RockpoolError(
    "FAILED_PRECONDITION",
    `Masters run that share the journal ${configuration.get(MasterKeys.journalFolder)}: ${masters.map(formatHostPort).join(", ")}`,
    "Stop them first. A master that is to join them needs no format: start it",
  );
}

/** Where a journal lies that holds something; null for one that is empty, or not there. */
export async function usedShared(configuration: Configuration): Promise<string | null> {
  const store = sharedStore(configuration);
  const identity = await readIdentity(store);
  return identity !== null && (await isUsed(store, identity)) ? store.uri : null;
}

/**
 * Metadata is an image of one journal: what lies there of another one is removed.
 * @param groupId null for a journal of this master's own
 * @returns whether anything was removed
 */
export function bindMetastore(folder: string, groupId: bigint | null): boolean {
  const file = join(folder, GROUP_FILE);
  const wanted = groupId === null ? null : hex64(groupId);
  const found = existsSync(file) ? readFileSync(file, "utf8").trim() : null;
  if (found === wanted) return false;
  const names = readdirSync(folder).filter((name) => METASTORE_FILE.test(name));
  // Whose image it is goes last: what a crash leaves is still known to be another's.
  names.sort((one, other) => Number(one === GROUP_FILE) - Number(other === GROUP_FILE));
  for (const name of names) rmSync(join(folder, name), { force: true });
  if (wanted !== null)
    nodeFileSystem().replaceFileSync(file, new TextEncoder().encode(`${wanted}\n`));
  return names.length > 0;
}

/** What stands in the place of the journal thread. */
export function connectShared(
  { configuration, world }: Pick<DaemonContext, "configuration" | "world">,
  { store, identity }: SharedJournal,
  elector: Elector,
): ConnectThread {
  const flavour = configuration.get(CommonKeys.rockpoolCore);
  const kernels = openKernels({ flavour, arenaBytes: ARENA_BYTES });
  const crc32c = (bytes: Uint8Array, seed?: number) => kernels.crc32c(bytes, seed);
  const { groupId, windowEntries } = identity;
  const workFolder = join(configuration.get(MasterKeys.metastoreDir), WORK_FOLDER);
  mkdirSync(workFolder, { recursive: true });
  return onThisThread(world.timers, (tell) => {
    const watch = new IdentityWatch({
      ...{ store, groupId, timers: world.timers },
      onEvent: (event) => tell({ kind: "event", event }),
    });
    const post = (message: FromThread) => {
      if (message.kind === "started") watch.begin();
      if (message.kind === "closed") watch.end();
      tell(message);
    };
    const log = new UfsLog({ store, groupId, crc32c, windowEntries });
    const checkpoints = new Checkpoints({
      ...{ log, store, groupId, crc32c, world, workFolder, post },
      fileSystem: nodeFileSystem(),
      entries: configuration.get(MasterKeys.checkpointPeriodEntries),
      intervalMs: CHECKPOINT_INTERVAL_MS,
    });
    const core = new UfsCore({
      ...{ log, elector, checkpoints, world, post },
      address: ownRpcAddress(configuration),
      tailMs: configuration.get(MasterKeys.journalTailerSleep),
      areReadsStrict: configuration.get(MasterKeys.strictReads),
    });
    return {
      receive: (message) => core.receive(message),
      abandon() {
        watch.end();
        core.abandon();
      },
    };
  });
}
