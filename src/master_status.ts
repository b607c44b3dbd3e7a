/**
 * What a master says of itself and of its cluster: for the status page and for clients that ask.
 * @module
 */
import { journalMembership, masterRpcAddresses, masterWebAddresses } from "./conf/cluster.ts";
import { CommonKeys } from "./conf/common_keys.ts";
import { formatHostPort } from "./conf/key_spec.ts";
import { MasterKeys } from "./conf/master_keys.ts";
import type { DaemonContext } from "./daemon.ts";
import { isLocalHost } from "./format.ts";
import type { JournalMember, JournalStatus } from "./journal/journal_system.ts";
import type { WorkerInfo } from "./master/api.ts";
import type { MasterParts } from "./master_daemon.ts";
import type {
  Leader,
  MasterStatus,
  MemberStatus,
  MountSummary,
  WorkerSummary,
} from "./web/status.ts";

export class MasterStatusPage {
  readonly #context: DaemonContext;
  readonly #parts: MasterParts;
  readonly startedMs: number;

  constructor(context: DaemonContext, parts: MasterParts) {
    this.#context = context;
    this.#parts = parts;
    this.startedMs = context.world.clock.wallMs();
  }

  status(): MasterStatus {
    const { configuration, world } = this.#context;
    const journal = this.#parts.journal.status();
    const members = journal.members.map((member) => this.#member(member, journal));
    const self = members.find(({ isSelf }) => isSelf);
    const { role, isServing, term, commitIndex, appliedIndex } = journal;
    return {
      rpc: self?.rpc ?? "",
      version: configuration.get(CommonKeys.version),
      startedMs: this.startedMs,
      uptimeMs: world.clock.wallMs() - this.startedMs,
      role,
      isServing,
      leader: leaderOf(members),
      term,
      commitIndex,
      appliedIndex,
      members,
      workers: this.#parts.blocks.workers().map((worker) => this.#worker(worker)),
      mounts: this.#mounts(),
    };
  }

  /**
   * The RPC and web addresses come in the order of the configured journal addresses. A member that was added since is
   * taken to have the same ports as this master.
   */
  #member(member: JournalMember, journal: JournalStatus): MemberStatus {
    const { configuration } = this.#context;
    const at = journalMembership(configuration, isLocalHost)
      .members.map(formatHostPort)
      .indexOf(member.address);
    const { address, isSelf, isLeader, isAvailable, matchIndex, standing } = member;
    const host = address.slice(0, address.lastIndexOf(":"));
    const rpc = masterRpcAddresses(configuration)[at];
    const web = masterWebAddresses(configuration)[at];
    const lagOnLeader = matchIndex === null ? null : Math.max(0, journal.lastIndex - matchIndex);
    return {
      rpc:
        rpc === undefined
          ? `${host}:${configuration.get(MasterKeys.rpcPort)}`
          : formatHostPort(rpc),
      web:
        web === undefined
          ? `${host}:${configuration.get(MasterKeys.webPort)}`
          : formatHostPort(web),
      journal: address,
      isSelf,
      isLeader,
      isVoter: standing === "voter",
      isAvailable,
      lagEntries: isSelf ? journal.lastIndex - journal.appliedIndex : lagOnLeader,
    };
  }

  #worker(worker: WorkerInfo): WorkerSummary {
    const { host, rpcPort, webPort } = worker.address;
    return {
      rpc: formatHostPort({ host, port: rpcPort }),
      web: formatHostPort({ host, port: webPort }),
      isLive: worker.isLive,
      sinceContactMs: this.#context.world.clock.wallMs() - worker.lastContactMs,
      tiers: worker.tiers,
      blockCount: worker.blockCount,
    };
  }

  #mounts(): readonly MountSummary[] {
    const { view } = this.#parts.state;
    if (!view.isInitialized()) return [];
    return view.mounts().rows.map(({ path, ufsUri, isReadOnly }) => ({
      path,
      ufsUri,
      type: /^[a-z][a-z0-9+.-]*(?=:\/\/)/i.exec(ufsUri)?.[0] ?? "local",
      isReadOnly,
    }));
  }
}

function leaderOf(members: readonly MemberStatus[]): Leader | null {
  const leader = members.find(({ isLeader }) => isLeader);
  return leader === undefined ? null : { rpc: leader.rpc, web: leader.web };
}
