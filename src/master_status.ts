/**
 * What a master says of itself and of its cluster: for the status page and for clients that ask.
 * @module
 */
import { journalMembership, masterRpcAddresses, masterWebAddresses } from "./conf/cluster.ts";
import { CommonKeys } from "./conf/common_keys.ts";
import { formatHostPort } from "./conf/key_spec.ts";
import { MasterKeys } from "./conf/master_keys.ts";
import { hasSharedJournal } from "./conf/shared_journal.ts";
import { WorkerKeys } from "./conf/worker_keys.ts";
import type { DaemonContext } from "./daemon.ts";
import { isLocalHost } from "./format.ts";
import type { JournalMember, JournalStatus } from "./journal/journal_system.ts";
import type { WorkerInfo } from "./master/api.ts";
import { NO_CENSUS } from "./master/census.ts";
import type { MasterParts } from "./master_daemon.ts";
import type { MasterWatch } from "./master_watch.ts";
import type {
  Leader,
  MasterStatus,
  MemberStatus,
  MountSummary,
  Space,
  WorkerSummary,
} from "./web/api_types.ts";

export class MasterStatusPage {
  readonly #context: DaemonContext;
  readonly #parts: MasterParts;
  readonly startedMs: number;
  #watch: MasterWatch | null = null;
  #rootSpace: () => Space | null = () => null;

  constructor(context: DaemonContext, parts: MasterParts) {
    this.#context = context;
    this.#parts = parts;
    this.startedMs = context.world.clock.wallMs();
  }

  /** What only a master that is starting does not know yet; set once, before anybody asks. */
  watchWith(watch: MasterWatch, rootSpace: () => Space | null): void {
    this.#watch = watch;
    this.#rootSpace = rootSpace;
  }

  status(): MasterStatus {
    const { configuration, world } = this.#context;
    const { admin, state } = this.#parts;
    const journal = this.#parts.journal.status();
    const members = journal.members.map((member) => this.#member(member, journal));
    const self = members.find(({ isSelf }) => isSelf);
    const { role, isServing, term, lastIndex, commitIndex, appliedIndex } = journal;
    const rootSpace = this.#rootSpace();
    return {
      rpc: self?.rpc ?? "",
      version: configuration.get(CommonKeys.version),
      startedMs: this.startedMs,
      uptimeMs: world.clock.wallMs() - this.startedMs,
      ...{ role, isServing, term, lastIndex, commitIndex, appliedIndex },
      leader: leaderOf(members),
      clusterId: state.view.isInitialized() ? state.view.state().clusterId : "",
      lastGainedMs: journal.lastGainedMs,
      lastLostMs: journal.lastLostMs,
      failover: journal.lastFailover,
      checkpoint: admin.checkpointSeen,
      checkpointEveryEntries: configuration.get(MasterKeys.checkpointPeriodEntries),
      journalFolder: configuration.get(MasterKeys.journalFolder),
      journalRoom: admin.roomSeen,
      journalWarnings: this.#journalWarnings(),
      members,
      workers: this.#parts.blocks.workers().map((worker) => this.#worker(worker)),
      mounts: this.#mounts(rootSpace),
      rootSpace,
      census: this.#watch?.census.result ?? NO_CENSUS,
      workerRpcPort: configuration.get(WorkerKeys.rpcPort),
    };
  }

  #journalWarnings(): readonly string[] {
    const { condition, admin } = this.#parts;
    const { configuration } = this.#context;
    const folder = configuration.get(MasterKeys.journalFolder);
    const { freeBytes, totalBytes } = admin.roomSeen;
    const freePercent = totalBytes === 0 ? 100 : Math.floor((100 * freeBytes) / totalBytes);
    return [
      ...(condition.isReadOnly ? [`The disk of ${folder} is full: this master only follows`] : []),
      ...(condition.promisedIndex === null
        ? []
        : [
            `Part of the journal in ${folder} is damaged, and is being got back from other masters`,
          ]),
      ...(freePercent < configuration.get(MasterKeys.journalSpaceThreshold)
        ? [`Only ${freePercent} % of the disk of ${folder} are free`]
        : []),
    ];
  }

  #member(member: JournalMember, journal: JournalStatus): MemberStatus {
    const { address, isSelf, isLeader, isAvailable, matchIndex, standing } = member;
    const lagOnLeader = matchIndex === null ? null : Math.max(0, journal.lastIndex - matchIndex);
    return {
      ...this.#portsOf(address),
      journal: address,
      isSelf,
      isLeader,
      isVoter: standing === "voter",
      isAvailable,
      matchIndex: isSelf ? journal.lastIndex : matchIndex,
      lagEntries: isSelf ? journal.lastIndex - journal.appliedIndex : lagOnLeader,
    };
  }

  /**
   * The RPC and web addresses come in the order of the configured journal addresses. A member that was added since is
   * taken to have the same ports as this master.
   */
  #portsOf(address: string): Pick<MemberStatus, "rpc" | "web"> {
    const { configuration } = this.#context;
    const host = address.slice(0, address.lastIndexOf(":"));
    const webHere = `${host}:${configuration.get(MasterKeys.webPort)}`;
    // Who shares a journal is known by the address for clients, and ZooKeeper knows no other.
    if (hasSharedJournal(configuration)) {
      const named = configuration.get(MasterKeys.rpcAddresses)?.map(formatHostPort) ?? [];
      const namedWeb = configuration.get(MasterKeys.webAddresses)?.[named.indexOf(address)];
      return { rpc: address, web: namedWeb === undefined ? webHere : formatHostPort(namedWeb) };
    }
    const at = journalMembership(configuration, isLocalHost)
      .members.map(formatHostPort)
      .indexOf(address);
    const rpc = masterRpcAddresses(configuration)[at];
    const web = masterWebAddresses(configuration)[at];
    return {
      rpc:
        rpc === undefined
          ? `${host}:${configuration.get(MasterKeys.rpcPort)}`
          : formatHostPort(rpc),
      web: web === undefined ? webHere : formatHostPort(web),
    };
  }

  #worker(worker: WorkerInfo): WorkerSummary {
    const { host, rpcPort, webPort } = worker.address;
    const { isLive, isDecommissioned } = worker;
    return {
      id: worker.id.toString(),
      host,
      rpc: formatHostPort({ host, port: rpcPort }),
      web: formatHostPort({ host, port: webPort }),
      state: isDecommissioned ? "decommissioned" : isLive ? "live" : "lost",
      sinceContactMs: this.#context.world.clock.wallMs() - worker.lastContactMs,
      startedMs: worker.startedMs,
      tiers: worker.tiers,
      blockCount: worker.blockCount,
      version: worker.buildVersion,
      revision: worker.buildRevision,
    };
  }

  #mounts(rootSpace: Space | null): readonly MountSummary[] {
    const { view } = this.#parts.state;
    if (!view.isInitialized()) return [];
    return view.mounts().rows.map(({ path, ufsUri, isReadOnly, isShared }) => ({
      path,
      ufsUri,
      type: /^[a-z][a-z0-9+.-]*(?=:\/\/)/i.exec(ufsUri)?.[0] ?? "local",
      isReadOnly,
      isShared,
      capacityBytes: path === "/" ? (rootSpace?.capacityBytes ?? -1) : -1,
      usedBytes: path === "/" ? (rootSpace?.usedBytes ?? -1) : -1,
    }));
  }
}

function leaderOf(members: readonly MemberStatus[]): Leader | null {
  const leader = members.find(({ isLeader }) => isLeader);
  return leader === undefined ? null : { rpc: leader.rpc, web: leader.web };
}
