/**
 * A master, joined: configuration → options, journal → state → services, events → log and metrics, status → web port.
 *
 * All ports open at the start and stay open in every role; what a role changes is what the services answer,
 * because each of them asks the journal whether this master serves.
 * @module
 */
import { EXIT } from "./common/errors.ts";
import type { BlockId } from "./common/ids.ts";
import { rootUnderStore, zookeeperServers } from "./conf/cluster.ts";
import { CommonKeys } from "./conf/common_keys.ts";
import type { Configuration } from "./conf/configuration.ts";
import { MasterKeys } from "./conf/master_keys.ts";
import { hasSharedJournal } from "./conf/shared_journal.ts";
import { UserKeys } from "./conf/user_keys.ts";
import {
  type Daemon,
  type DaemonContext,
  groupMapping,
  processUser,
  warnOfLoopback,
} from "./daemon.ts";
import type { RaftJournal } from "./journal/raft_journal.ts";
import { type JournalPlace, journalPlace, openJournal, startJournal } from "./journal_place.ts";
import type { KeyValueStore } from "./kv/kv.ts";
import { openLmdb } from "./kv/lmdb_kv.ts";
import type { ApplyResult } from "./master/apply.ts";
import { Backuper } from "./master/backuper.ts";
import { createBlockMaster, type SoftBlockMaster } from "./master/block_master.ts";
import { createFileSystemMaster, type NamespaceServices } from "./master/file_system_master.ts";
import { type OsGroupMapping, Principals } from "./master/groups.ts";
import { STORE_SCHEMA_VERSION } from "./master/inode.ts";
import { PersistScheduler } from "./master/persist_scheduler.ts";
import { Restorer } from "./master/restorer.ts";
import { createMasterState, type MasterState } from "./master/state_machine.ts";
import { WorkerControlClient } from "./master/worker_control.ts";
import { MasterBackups, masterHost } from "./master_backups.ts";
import { MasterConfiguration } from "./master_configuration.ts";
import { JournalCondition, MasterJournal } from "./master_journal.ts";
import { masterReadings, RootSpace } from "./master_metrics.ts";
import { MasterRestore, requireSoundBackup } from "./master_restore.ts";
import { masterRpcServer } from "./master_rpc.ts";
import { MasterStatusPage } from "./master_status.ts";
import { JournalTimes, MasterWatch } from "./master_watch.ts";
import { startMasterWeb } from "./master_web.ts";
import { requireOwnPorts } from "./own_ports.ts";
import type { RpcServer } from "./rpc/service.ts";
import { bindMetastore } from "./shared_journal.ts";
import type { Reading } from "./telemetry/metrics.ts";
import { UnderStores, underStoreOptions } from "./under_stores.ts";
import type { WebServer } from "./web/server.ts";
import { makeFolder } from "./world/folders.ts";
import type { Timer } from "./world/ports.ts";

/** A worker's report may be this much ahead of the journal that a master has applied. */
const ORPHAN_GRACE_MS = 30_000;
/** Silent workers are noticed by calls; this is for when there are none. */
const CHECK_WORKERS_MS_MAX = 1000;
const PERSIST_CONCURRENCY = 64;
const PERSIST_PER_WORKER = 8;
/** Who has served for so long has touched what there is to be touched of the metadata. */
const METADATA_PROVEN_MS = 30_000;
/** The parts of a master, made in the order in which they need each other; nothing runs yet. */
export type MasterParts = {
  readonly store: KeyValueStore;
  readonly state: MasterState;
  readonly journal: RaftJournal<ApplyResult>;
  readonly namespace: NamespaceServices;
  readonly blocks: SoftBlockMaster;
  readonly persists: PersistScheduler;
  readonly control: WorkerControlClient;
  readonly principals: Principals;
  readonly groups: OsGroupMapping;
  /** The journal for its administrators. */
  readonly admin: MasterJournal;
  readonly condition: JournalCondition;
  readonly journalTimes: JournalTimes;
  readonly backups: MasterBackups;
  readonly configuration: MasterConfiguration;
  readonly restore: MasterRestore;
  /** Whether this master leads and may serve. */
  readonly isServing: () => boolean;
};

/** What brings files to the under store in the background, by the workers. */
function createPersists(
  { configuration, live, telemetry, world }: DaemonContext,
  namespace: NamespaceServices,
  blocks: SoftBlockMaster,
): Pick<MasterParts, "persists" | "control"> {
  const isSimple = configuration.get(CommonKeys.authenticationType) === "SIMPLE";
  const user = processUser(configuration);
  const control = new WorkerControlClient(isSimple ? { kind: "simple", user } : { kind: "none" });
  const persists = new PersistScheduler({
    queue: namespace.persistQueue,
    blocks,
    control,
    world,
    options: {
      concurrencyMax: PERSIST_CONCURRENCY,
      perWorkerMax: PERSIST_PER_WORKER,
      get pollMs() {
        return live.get(MasterKeys.persistenceSchedulerInterval);
      },
    },
    onEvent: telemetry.listen("persist", { filePersisted: "debug" }),
  });
  return { persists, control };
}

function createParts(
  context: DaemonContext,
  place: JournalPlace,
  store: KeyValueStore,
  stores: UnderStores,
  groups: OsGroupMapping,
  rootGroup: string,
): MasterParts {
  const { configuration, live, telemetry, world } = context;
  const user = processUser(configuration);
  const rootUfsUri = rootUnderStore(configuration);
  // Each of the two needs the other; both are there before anything calls them.
  const late: { blocks: SoftBlockMaster | null } = { blocks: null };
  const state = createMasterState({
    store,
    onBlocksRemoved: (blockIds: readonly BlockId[]) => late.blocks?.blocksRemoved(blockIds),
  });
  const condition = new JournalCondition(() => world.clock.wallMs());
  const journalTimes = new JournalTimes();
  const journal = openJournal(context, place, state, condition, journalTimes);
  const mounted = () => [
    rootUfsUri,
    ...(state.view.isInitialized() ? state.view.mounts().rows.map((row) => row.ufsUri) : []),
  ];
  const namespace = createFileSystemMaster({
    journal,
    state,
    ufs: stores.registry(mounted),
    blocks: {
      locationsOf: (blockId) => late.blocks?.locationsOf(blockId) ?? [],
      blocksRemoved: (blockIds) => late.blocks?.blocksRemoved(blockIds),
    },
    world,
    options: {
      rootUfsUri,
      isRootUfsReadOnly: configuration.get(MasterKeys.rootReadonly),
      isRootUfsShared: configuration.get(MasterKeys.rootShared),
      rootOwner: user,
      rootGroup,
      loadedBlockSizeBytes: configuration.get(UserKeys.blockSize),
      awaitsRestore: configuration.get(MasterKeys.initFromBackup) !== null,
    },
    onEvent: telemetry.listen("namespace", {
      rootUfsDiffers: "warn",
      intentDelayed: "warn",
      restoreInterrupted: "warn",
    }),
  });
  const blocks = createBlockMaster({
    namespace: namespace.blockNamespace,
    isServing: () => journal.isServing(),
    clock: world.clock,
    options: {
      get workerTimeoutMs() {
        return live.get(MasterKeys.workerTimeout);
      },
      get lostWorkerForgetMs() {
        return live.get(MasterKeys.lostWorkerDeletionTimeout);
      },
      orphanGraceMs: ORPHAN_GRACE_MS,
    },
    onEvent: telemetry.listen("blocks"),
  });
  late.blocks = blocks;
  const { persists, control } = createPersists(context, namespace, blocks);
  const principals = new Principals(groups, {
    arePermissionsChecked: configuration.get(CommonKeys.permissionEnabled),
    get superGroup() {
      return live.get(CommonKeys.supergroup);
    },
    superUser: user,
  });
  const admin = new MasterJournal({
    context,
    address: place.address,
    isShared: hasSharedJournal(configuration),
    journal,
    condition,
    restoreProgress: () => restore.progressText(),
  });
  const { restore, backups, isServing } = createBackups(context, stores, state, journal, namespace);
  const reported = new MasterConfiguration({ context, state, journal, isServing });
  return {
    ...{ store, state, journal, namespace, blocks, persists, control },
    ...{ principals, groups, admin, condition, backups, restore, isServing },
    ...{ configuration: reported, journalTimes },
  };
}

/** What writes the metadata to files, and brings it back. */
function createBackups(
  context: DaemonContext,
  stores: UnderStores,
  state: MasterState,
  journal: RaftJournal<ApplyResult>,
  namespace: NamespaceServices,
): Pick<MasterParts, "backups" | "restore" | "isServing"> {
  const { configuration, world } = context;
  const host = masterHost(configuration);
  const restorer = new Restorer({ state, journal, world, onRestored: namespace.restored });
  const restore = new MasterRestore({ context, stores, state, journal, restorer });
  const isServing = () => journal.isServing() && !restore.isPending();
  const backuper = new Backuper({ state, journal, world, host });
  const backups = new MasterBackups({ context, stores, backuper, isServing });
  return { restore, backups, isServing };
}

/** Follows leadership: what only a leader does begins and ends with it. */
function followLeadership(
  { journal, persists }: MasterParts,
  { configuration, telemetry }: DaemonContext,
): void {
  journal.onLeadership((event) => {
    if (event.kind === "gained") {
      telemetry.logger.log("info", "main", "this master leads", {
        term: event.term,
        tookMs: Math.round(event.tookMs),
      });
      persists.start();
    } else {
      telemetry.logger.log("info", "main", "this master is a standby", { term: event.term });
      persists.stop();
      if (!configuration.get(MasterKeys.exitOnDemotion)) return;
      telemetry.logger.log("warn", "main", "this master ends, since it leads no more", {
        because: `${MasterKeys.exitOnDemotion.key}=true`,
      });
      process.kill(process.pid, "SIGTERM");
    }
  });
}

function requireFreePorts(configuration: Configuration): Promise<void> {
  const own = [
    ["RPC", MasterKeys.bindHost, MasterKeys.rpcPort],
    ["web", MasterKeys.webBindHost, MasterKeys.webPort],
  ] as const;
  const journal = ["journal", MasterKeys.journalBindHost, MasterKeys.journalPort] as const;
  const bound = hasSharedJournal(configuration) ? own : [...own, journal];
  return requireOwnPorts(
    bound.map(([use, host, port]) => ({
      use,
      key: port.key,
      host: configuration.get(host),
      port: configuration.get(port),
    })),
  );
}

function makeMetastoreFolder(configuration: Configuration): string {
  const { key } = MasterKeys.metastoreDir;
  const folder = configuration.get(MasterKeys.metastoreDir);
  makeFolder(folder, `the metadata (${key})`, `Set ${key} to a folder that this user may make`);
  return folder;
}

class MasterDaemon implements Daemon {
  readonly #context: DaemonContext;
  #parts: MasterParts | null = null;
  #rpc: RpcServer | null = null;
  #web: WebServer | null = null;
  #watch: MasterWatch | null = null;
  #checks: Timer | null = null;
  #proof: Timer | null = null;

  constructor(context: DaemonContext) {
    this.#context = context;
  }

  async start() {
    const { configuration, telemetry, world } = this.#context;
    rootUnderStore(configuration);
    const stores = new UnderStores(underStoreOptions(configuration));
    const { place, isFresh, groupId } = await journalPlace(this.#context);
    if (isFresh) await requireSoundBackup(this.#context, stores);
    await requireFreePorts(configuration);
    const metastore = makeMetastoreFolder(configuration);
    if (bindMetastore(metastore, groupId))
      telemetry.logger.log("warn", "main", "metadata of another journal was removed", {
        folder: metastore,
      });
    const { store, discardReason, proven } = openLmdb(metastore, {
      schemaVersion: STORE_SCHEMA_VERSION,
      onLockTakenOver: (pid) =>
        telemetry.logger.log("info", "main", "metastoreLockTakenOver", { pid }),
      onDamage: (reason) =>
        this.#context.fatal(EXIT.metadataDamaged, "the metadata is damaged", {
          reason,
          remedy:
            "Start this master again: its metadata is then rebuilt from its checkpoint and its journal. Check the disk",
        }),
    });
    if (discardReason !== null)
      telemetry.logger.log("warn", "main", "metadata is rebuilt from the journal", {
        reason: discardReason,
      });
    const user = processUser(configuration);
    const groups = groupMapping(configuration, world.clock);
    // Without an answer of the system the root gets a group of the user's name: no reason not to start.
    const [rootGroup = user] = await groups.groupsOf(user).catch((): readonly string[] => []);
    const parts = createParts(this.#context, place, store, stores, groups, rootGroup);
    this.#parts = parts;
    followLeadership(parts, this.#context);
    const page = new MasterStatusPage(this.#context, parts);
    const watch = new MasterWatch(this.#context, parts);
    this.#watch = watch;
    const rootSpace = new RootSpace(this.#context, stores);
    page.watchWith(watch, () => rootSpace.read());
    const { startedMs } = page;
    const readings: Reading[] = [];
    const serve = (reading: Reading) => {
      telemetry.metrics.serve(reading);
      readings.push(reading);
    };
    for (const reading of masterReadings({
      ...{ context: this.#context, parts, watch, rootSpace, startedMs },
    }))
      serve(reading);
    const web = await startMasterWeb(this.#context, parts, page, watch, serve);
    this.#web = web;
    const rpc = masterRpcServer(this.#context, parts, page, readings, watch);
    this.#rpc = rpc;
    const rpcPort = await rpc.listen(
      configuration.get(MasterKeys.bindHost),
      configuration.get(MasterKeys.rpcPort),
    );
    await startJournal(parts.journal);
    parts.admin.watch();
    watch.census.start();
    parts.backups.startDaily();
    parts.configuration.start();
    this.#warnOfLoopback();
    this.#checkWorkers(parts, world);
    this.#proof = world.timers.after(METADATA_PROVEN_MS, proven);
    const { lastIndex, appliedIndex } = parts.journal.status();
    return { rpcPort, webPort: web.port, lastIndex, appliedIndex };
  }

  /** In the background: names may take their time. */
  #warnOfLoopback(): void {
    const { configuration } = this.#context;
    const own = configuration.get(MasterKeys.hostname);
    const voters = configuration.get(MasterKeys.journalAddresses) ?? [];
    const peers = [...voters, ...zookeeperServers(configuration)].map(({ host }) => host);
    if (own !== null) void warnOfLoopback(this.#context, own, peers, MasterKeys.hostname.key);
  }

  #checkWorkers(parts: MasterParts, world: DaemonContext["world"]): void {
    const wantedMs = this.#context.live.get(MasterKeys.lostWorkerDetectionInterval);
    const everyMs = Math.min(wantedMs, CHECK_WORKERS_MS_MAX);
    this.#checks = world.timers.after(everyMs, () => {
      parts.blocks.checkWorkers();
      this.#watch?.checkWorkers();
      // A new leader should know the groups of whom everything is done as, and not start processes while clients wait.
      void parts.groups.groupsOf(processUser(this.#context.configuration)).catch(() => {}); // asked again
      this.#checkWorkers(parts, world);
    });
  }

  async stop(): Promise<void> {
    this.#checks?.cancel();
    this.#proof?.cancel();
    this.#parts?.admin.close();
    this.#parts?.backups.close();
    this.#parts?.configuration.close();
    // The leader first hands over, so that clients find the next one while the calls under way end.
    await this.#parts?.journal.close();
    await this.#rpc?.close(this.#context.live.get(MasterKeys.shutdownGrace));
    await this.#web?.close();
    this.#parts?.control.close();
    await this.#watch?.close();
    await this.#parts?.store.close();
  }
}

export function createMasterDaemon(context: DaemonContext): Daemon {
  return new MasterDaemon(context);
}
