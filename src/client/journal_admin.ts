/**
 * The journal of the masters, for commands that look at it and change it.
 *
 * What only looks asks every master at once and waits for none longer than {@link LOOK_MS}: the answers of those that
 * are there count, whoever leads or does not. What changes something goes to the leader.
 * @module
 */
import { userInfo } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { isRockpoolError, messageOf, RockpoolError } from "../common/errors.ts";
import type { HostPort } from "../conf/key_spec.ts";
import { JournalMasterClientService } from "../proto/gen/journal_master.ts";
import { MetaMasterClientService } from "../proto/gen/meta_master.ts";
import { JournalAdmin, type RaftMember, type RaftReport } from "../proto/gen/rockpool_internal.ts";
import { type Credentials, openChannel, type RpcChannel } from "../rpc/channel.ts";
import { MasterChannel } from "../rpc/master_channel.ts";

const LOOK_MS = 1500;
/** As long as Alluxio's command waits for an election. */
const TRANSFER_MS = 180_000;
const ASK_EVERY_MS = 5;
const ASK_WHY_EVERY_MS = 200;

export type AdminOptions = {
  /** RPC addresses of the masters. */
  readonly masters: readonly HostPort[];
  readonly auth: Credentials;
  /** How long a change may wait for a leader. */
  readonly patienceMs: number;
};

/** What a master said, or why it said nothing. */
export type MasterAnswer = {
  /** host:port of its RPC port, as configured. */
  readonly rpc: string;
} & (
  | { readonly report: RaftReport; readonly tookMs: number }
  | { readonly report: null; readonly why: string }
);

/** The journal as far as it can be seen from here. */
export type JournalView = {
  readonly answers: readonly MasterAnswer[];
  /** The leader's answer, if one leads and answers. */
  readonly leader: RaftReport | null;
  /** The leader's members; without one those of the master that knows the newest term. Empty when nobody answers. */
  readonly members: readonly RaftMember[];
};

export function credentialsOf(
  authentication: "SIMPLE" | "NOSASL",
  user: string | null,
): Credentials {
  if (authentication === "NOSASL") return { kind: "none" };
  return { kind: "simple", user: user === null || user === "" ? userInfo().username : user };
}

/** For messages: host and port as the wire wants them. */
export function netAddressOf(address: string): { readonly host: string; readonly rpcPort: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(address.trim());
  const host = match?.[1] ?? match?.[2];
  if (host === undefined || Number(match?.[3]) > 65_535)
    throw new RockpoolError(
      "INVALID_ARGUMENT",
      `"${address}" is no address of a journal`,
      "Give host:port, as `journal quorum info` prints it",
    );
  return { host, rpcPort: Number(match?.[3]) };
}

function shortly(error: unknown): string {
  const text = messageOf(error);
  if (text.includes("ECONNREFUSED")) return "refuses connections";
  if (isRockpoolError(error, "DEADLINE_EXCEEDED")) return `no answer within ${LOOK_MS} ms`;
  return text.replace(/^Cannot connect to \S+: /, "cannot be reached: ");
}

/** @returns the newest view of the members: the leader's, else that of the highest term */
function membersOf(
  reports: readonly RaftReport[],
  leader: RaftReport | null,
): readonly RaftMember[] {
  if (leader !== null) return leader.members;
  const [newest] = [...reports].sort((a, b) => b.term - a.term || b.lastIndex - a.lastIndex);
  return newest?.members ?? [];
}

export class JournalAdminClient {
  readonly #masters: readonly RpcChannel[];
  readonly #leader: MasterChannel;

  constructor({ masters, auth, patienceMs }: AdminOptions) {
    this.#masters = masters.map((address) => openChannel({ ...address, auth }));
    this.#leader = new MasterChannel({
      addresses: masters,
      auth,
      retry: { baseMs: 20, maxMs: 200, budgetMs: patienceMs },
    });
  }

  /** Never rejects. */
  async look(): Promise<JournalView> {
    const answers = await Promise.all(this.#masters.map((channel) => this.#ask(channel)));
    const reports = answers.flatMap(({ report }) => (report === null ? [] : [report]));
    // One that was deposed may not know it yet.
    const serving = reports.filter(({ isServing }) => isServing).sort((a, b) => b.term - a.term);
    const leader = serving[0] ?? null;
    return { answers, leader, members: membersOf(reports, leader) };
  }

  async #ask(channel: RpcChannel): Promise<MasterAnswer> {
    const rpc = channel.address;
    const startedMs = performance.now();
    try {
      const report = await channel.unary(
        JournalAdmin.methods.GetRaftReport,
        {},
        { deadlineMs: LOOK_MS },
      );
      return { rpc, report, tookMs: performance.now() - startedMs };
    } catch (error) {
      return { rpc, report: null, why: shortly(error) };
    }
  }

  /** Finds the master that serves, and logs in there. @throws RockpoolError UNAVAILABLE */
  async requireLeader(): Promise<void> {
    await this.#leader.unary(JournalMasterClientService.methods.GetQuorumInfo, {});
  }

  /**
   * Hands leadership to the member at an address of the journal.
   * @returns ms from the request until that member was seen to serve
   * @throws RockpoolError with what the leader says; DEADLINE_EXCEEDED
   */
  async transferTo(address: string): Promise<number> {
    const { methods } = JournalMasterClientService;
    const { answers } = await this.look();
    const heir = this.#masters.find(
      (_, at) => answers[at]?.report !== null && answers[at]?.report?.address === address,
    );
    const request = { serverAddress: netAddressOf(address) };
    await this.requireLeader();
    const startedMs = performance.now();
    const { transferId } = await this.#leader.unary(methods.TransferLeadership, request);
    const former = this.#masters.find(({ address: rpc }) => rpc === this.#leader.leaderAddress());
    let askWhyMs = startedMs + ASK_WHY_EVERY_MS;
    for (;;) {
      const isThere =
        heir === undefined
          ? (await this.look()).leader?.address === address
          : await this.#serves(heir);
      const nowMs = performance.now();
      if (isThere) return nowMs - startedMs;
      if (nowMs > askWhyMs) {
        askWhyMs = nowMs + ASK_WHY_EVERY_MS;
        const why = await former
          ?.unary(methods.GetTransferLeaderMessage, { transferId }, { deadlineMs: LOOK_MS })
          .catch(() => null); // it may have ended by now; who leads is what counts
        const message = why?.transMsg.msg ?? "";
        if (message !== "") throw new RockpoolError("FAILED_PRECONDITION", message);
      }
      if (nowMs - startedMs > TRANSFER_MS)
        throw new RockpoolError("DEADLINE_EXCEEDED", `it does not lead after ${TRANSFER_MS} ms`);
      await sleep(ASK_EVERY_MS);
    }
  }

  async #serves(channel: RpcChannel): Promise<boolean> {
    const { report } = await this.#ask(channel);
    return report?.isServing === true;
  }

  /** Resolves when it is committed that no such member is there. */
  async removeMember(address: string): Promise<void> {
    const { methods } = JournalMasterClientService;
    const request = { serverAddress: netAddressOf(address) };
    const { members } = await this.look();
    const wasMember = members.some((member) => member.address === address);
    try {
      await this.#leader.unary(methods.RemoveQuorumServer, request);
    } catch (error) {
      // The leader that removed itself may end before it answers: the next one is asked, and knows it no more.
      if (!wasMember || !isRockpoolError(error, "NOT_FOUND")) throw error;
    }
  }

  /** Resolves when the master at that address is a voter, whoever leads until then. */
  async addMember(address: string, timeoutMs: number): Promise<void> {
    netAddressOf(address);
    const deadlineMs = performance.now() + timeoutMs;
    for (;;)
      try {
        const leftMs = Math.max(1, Math.round(deadlineMs - performance.now()));
        const request = { address, timeoutMs: leftMs };
        await this.#leader.unary(JournalAdmin.methods.AddQuorumServer, request);
        return;
      } catch (error) {
        // A master joins by itself: it may have done so before it was asked for, or asked for again.
        if (isRockpoolError(error, "ALREADY_EXISTS")) return;
        const mayCome = isRockpoolError(error, "UNAVAILABLE") && performance.now() < deadlineMs;
        if (!mayCome) throw error;
        await sleep(ASK_WHY_EVERY_MS);
      }
  }

  async resetPriorities(): Promise<void> {
    await this.#leader.unary(JournalMasterClientService.methods.ResetPriorities, {});
  }

  /** @returns the host that made it */
  async checkpoint(): Promise<string> {
    const answer = await this.#leader.unary(MetaMasterClientService.methods.Checkpoint, {});
    return answer.masterHostname ?? "";
  }

  /** Begins a backup. @param directory "" for the configured one */
  beginBackup(directory: string, isLocal: boolean) {
    return this.#leader.unary(MetaMasterClientService.methods.Backup, {
      ...(directory === "" ? {} : { targetDirectory: directory }),
      options: { localFileSystem: isLocal, runAsync: true },
    });
  }

  backupStatus(backupId: string) {
    return this.#leader.unary(MetaMasterClientService.methods.GetBackupStatus, { backupId });
  }

  close(): void {
    for (const channel of this.#masters) channel.close();
    this.#leader.close();
  }
}

/** The voters that would remain, and whether they suffice, when the master at an address of the journal stops. */
export function remainingVoters(
  members: readonly RaftMember[],
  address: string,
): {
  readonly isQuorum: boolean;
  readonly needed: number;
  readonly up: number;
  readonly down: readonly string[];
} {
  const voters = members.filter(({ isVoter }) => isVoter);
  const others = voters.filter((member) => member.address !== address);
  const down = others.filter(({ isAvailable }) => !isAvailable).map((member) => member.address);
  const needed = Math.floor(voters.length / 2) + 1;
  const up = others.length - down.length;
  const isVoter = others.length < voters.length;
  // A sole voter leaves nobody behind, and one that does not vote is not missed.
  return { isQuorum: !isVoter || voters.length === 1 || up >= needed, needed, up, down };
}
