/**
 * The journal's members and its condition, for administrators.
 *
 * What only looks is answered by every master in every role, so that it can be asked while nobody leads. What changes
 * something needs the leader and a superuser. Members are named by the address of their journal, as a person knows them;
 * an address that no member has is an error that lists those there are.
 *
 * A hand-over is begun by one call and asked after by others, as Alluxio's clients do it: what became of the last
 * {@link TRANSFERS_KEPT} of them is remembered, on the master that began them.
 * @module
 */
import { randomUUID } from "node:crypto";
import { messageOf, RockpoolError } from "../common/errors.ts";
import { formatHostPort } from "../conf/key_spec.ts";
import type { NetAddress } from "../proto/gen/common.ts";
import {
  JournalDomain,
  JournalMasterClientService,
  NodeState,
  QuorumServerState,
} from "../proto/gen/journal_master.ts";
import { JournalAdmin, type RaftReportInit } from "../proto/gen/rockpool_internal.ts";
import { type CallContext, type ServiceTable, unary } from "../rpc/service.ts";
import { leaderUnary, type MasterServicePorts, requireSuperuser } from "./services_ports.ts";

export type QuorumMember = {
  /** host:port of its journal. */
  readonly address: string;
  readonly isSelf: boolean;
  readonly isLeader: boolean;
  readonly isVoter: boolean;
  readonly isAvailable: boolean;
};

/** The journal, as administrators may touch it. */
export interface JournalPort {
  members(): readonly QuorumMember[];
  report(): Promise<RaftReportInit>;
  /** Resolves when that member was seen to lead. */
  transferTo(address: string): Promise<void>;
  addMember(address: string, timeoutMs: number): Promise<void>;
  removeMember(address: string): Promise<void>;
  /** Makes a checkpoint. @returns the host that made it */
  checkpoint(): Promise<string>;
}

const TRANSFERS_KEPT = 16;
/** As long as Alluxio's command waits for an election. */
const ADD_TIMEOUT_MS = 180_000;

function addressOf({ host = "", rpcPort = 0 }: NetAddress = {} as NetAddress): string {
  return formatHostPort({ host, port: rpcPort });
}

function netAddress(address: string) {
  const colon = address.lastIndexOf(":");
  const host = address.slice(0, colon).replace(/^\[(.*)\]$/, "$1");
  return { host, rpcPort: Number(address.slice(colon + 1)) };
}

/** @throws RockpoolError NOT_FOUND that names those there are */
export function memberAt(members: readonly QuorumMember[], address: string): QuorumMember {
  const found = members.find((member) => member.address === address);
  if (found !== undefined) return found;
  const known = members.map((member) => member.address).join(", ");
  throw new RockpoolError(
    "NOT_FOUND",
    `${address} is no member of the quorum: its members are ${known}`,
    "Give the address of its journal, as `journal quorum info` prints it",
  );
}

/** Who may be handed leadership now. @throws RockpoolError FAILED_PRECONDITION with the reason why it can't be */
function requireHeir(member: QuorumMember): void {
  const { address } = member;
  const refuse = (message: string, remedy = "") =>
    new RockpoolError("FAILED_PRECONDITION", message, remedy);
  if (member.isSelf) throw refuse(`${address} is already the leader`);
  if (!member.isVoter)
    throw refuse(
      `${address} is a learner and cannot lead`,
      "It becomes a voter when it has caught up: see `fsadmin report raft`",
    );
  if (!member.isAvailable) throw refuse(`${address} is not available`, "Start that master first");
}

class Transfers {
  readonly #journal: JournalPort;
  readonly #messages = new Map<string, string>();

  constructor(journal: JournalPort) {
    this.#journal = journal;
  }

  begin(address: string): string {
    requireHeir(memberAt(this.#journal.members(), address));
    const id = randomUUID();
    this.#messages.set(id, "");
    const [oldest] = this.#messages.keys();
    if (this.#messages.size > TRANSFERS_KEPT && oldest !== undefined) this.#messages.delete(oldest);
    this.#journal.transferTo(address).catch((error: unknown) => {
      if (this.#messages.has(id)) this.#messages.set(id, messageOf(error));
    });
    return id;
  }

  /** Empty while it goes on, when it went well, and for one that is not known here (any more). */
  message(id: string): string {
    return this.#messages.get(id) ?? "";
  }
}

export function journalClientService(ports: MasterServicePorts): ServiceTable {
  const { methods, name } = JournalMasterClientService;
  const { journal } = ports;
  const transfers = new Transfers(journal);
  const superuser = (context: CallContext, what: string) => requireSuperuser(ports, context, what);
  return {
    name,
    isAuthenticated: true,
    methods: [
      unary(methods.GetQuorumInfo, () => ({
        domain: JournalDomain.MASTER,
        serverInfo: journal.members().map((member) => ({
          serverAddress: netAddress(member.address),
          serverState: member.isAvailable
            ? QuorumServerState.AVAILABLE
            : QuorumServerState.UNAVAILABLE,
          isLeader: member.isLeader,
          priority: Number(member.isVoter),
        })),
      })),
      unary(methods.GetNodeState, () => ({
        nodeState: ports.isServing() ? NodeState.PRIMARY : NodeState.STANDBY,
      })),
      leaderUnary(ports, methods.TransferLeadership, async ({ serverAddress }, context) => {
        await superuser(context, "hand leadership over");
        return { transferId: transfers.begin(addressOf(serverAddress)) };
      }),
      unary(methods.GetTransferLeaderMessage, ({ transferId }) => ({
        transMsg: { msg: transfers.message(transferId) },
      })),
      // All voters are equal candidates here, always.
      leaderUnary(ports, methods.ResetPriorities, () => ({})),
      leaderUnary(ports, methods.RemoveQuorumServer, async ({ serverAddress }, context) => {
        await superuser(context, "remove a master");
        await journal.removeMember(memberAt(journal.members(), addressOf(serverAddress)).address);
        return {};
      }),
    ],
  };
}

export function journalAdminService(ports: MasterServicePorts): ServiceTable {
  const { methods, name } = JournalAdmin;
  return {
    name,
    isAuthenticated: true,
    methods: [
      unary(methods.GetRaftReport, () => ports.journal.report()),
      leaderUnary(ports, methods.AddQuorumServer, async ({ address, timeoutMs }, context) => {
        await requireSuperuser(ports, context, "add a master");
        await ports.journal.addMember(address, timeoutMs ?? ADD_TIMEOUT_MS);
        return {};
      }),
    ],
  };
}
