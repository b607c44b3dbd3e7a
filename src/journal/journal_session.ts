/**
 * What exists of a journal while its disk can be written: the log, Raft's core on it, and the connections to the peers.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import type { LogIndex } from "../common/ids.ts";
import { invariant } from "../common/invariant.ts";
import { RaftCore } from "../raft/core.ts";
import { encodeMembership, NOBODY } from "../raft/membership.ts";
import type { Membership, Raft, RaftConfig } from "../raft/messages.ts";
import type { World } from "../world/ports.ts";
import type { CheckpointStore } from "./checkpoint_store.ts";
import type { JournalFileSystem } from "./file_system.ts";
import type { JournalIdentity, PeerPins } from "./journal_folder.ts";
import type { MemberStatus, ThreadOptions, ThreadStatus } from "./journal_protocol.ts";
import type { StatePosition } from "./journal_system.ts";
import { foundersOf, memberIdOf } from "./member_ids.ts";
import { type InForce, MembershipGate } from "./membership_gate.ts";
import type { CreateTransport, PeerHandlers, PeerTransport } from "./peer_transport.ts";
import type { Crc32c } from "./record.ts";
import { openWal, type Wal } from "./wal.ts";
import type { WalFailure } from "./wal_failure.ts";
import type { WalEvent } from "./wal_options.ts";

export type Session = {
  readonly raft: Raft;
  readonly wal: Wal;
  readonly transport: PeerTransport;
  readonly gate: MembershipGate;
  /** The membership in force; replaced when another one is. */
  inForce: InForce;
  /** Tells the disk whether anybody but our own callers waits for this thread. */
  readonly tellDisk: (membership: Membership) => void;
};

export type SessionOptions = {
  readonly thread: ThreadOptions;
  readonly identity: JournalIdentity;
  readonly pins: PeerPins;
  readonly checkpoints: CheckpointStore;
  /** What the state holds: not needed in the log, should it be damaged there. */
  readonly state: StatePosition;
  /** Why the newest checkpoint did not replace it; null when it did, or need not. */
  readonly stateRefusal: RockpoolError | null;
  /** Makes sure that a power cut leaves a state at or after an entry: asked before the log drops what was before it. */
  readonly secureState: (index: LogIndex) => Promise<void>;
  /** The main thread has everything through that, and holds or will apply it. */
  readonly appliedIndex: LogIndex;
  /** It must have room for another segment, or it might lead for a moment only. */
  readonly mustHaveRoom: boolean;
  readonly fileSystem: JournalFileSystem;
  readonly crc32c: Crc32c;
  readonly world: World;
  readonly createTransport: CreateTransport;
  readonly onWalEvent: (event: WalEvent) => void;
  readonly onWalFailure: (failure: WalFailure) => void;
  readonly handlers: Omit<PeerHandlers, "readCheckpoint">;
};

/** The disk is still full. */
export class NoRoomError extends Error {
  override readonly name = "NoRoomError";
}

export function foundersIn(identity: JournalIdentity): Membership {
  return identity.standing === "founder" ? foundersOf(identity.founders) : NOBODY;
}

/** Recovers the log, and opens the port; nothing runs yet. */
export async function openSession(options: SessionOptions): Promise<Session> {
  const { thread, identity, checkpoints, state, crc32c, fileSystem, world } = options;
  const { folder, segmentBytes, cacheBytesMax } = thread;
  const { memberId, incarnation, groupId } = identity;
  const wal = await openWal({
    fileSystem,
    folder,
    owner: { memberId, incarnation, groupId },
    membership: foundersIn(identity),
    covered: state,
    secured: securedBy(checkpoints),
    beforeShortening: options.secureState,
    crc32c,
    timers: world.timers,
    clock: world.clock,
    segmentBytes,
    cacheBytesMax,
    onEvent: options.onWalEvent,
    onFailure: options.onWalFailure,
  });
  try {
    if (options.mustHaveRoom && !(await wal.hasSpare()))
      throw new NoRoomError("No room for a segment");
    checkState(wal, options);
    wal.setSnapshot(checkpoints.newest()?.snapshot ?? null);
    const raft = new RaftCore(raftConfig(options), wal, world.random);
    const session = joined(options, wal, raft);
    await session.transport.start();
    return session;
  } catch (error) {
    await wal.abandon();
    throw error;
  }
}

function securedBy(checkpoints: CheckpointStore): StatePosition | null {
  const newest = checkpoints.newest();
  if (newest === null) return null;
  const { index, term, membership } = newest.snapshot;
  return { index, term, membership: encodeMembership(membership) };
}

function joined(options: SessionOptions, wal: Wal, raft: Raft): Session {
  const { thread, identity, pins, checkpoints, handlers } = options;
  const { address, addresses, bindHost, bindPort } = thread;
  const late: { session: Session | null } = { session: null };
  // As the core sees it: it tells of changes only, and may know of more than the commit index on the disk says.
  const inForce = inForceAt(wal, raft.status().commitIndex);
  const gate = new MembershipGate({
    identity,
    pins,
    founders: identity.founders,
    isBorn: () => wal.hardState.term > 0 || wal.lastIndex() > 0,
    inForce: () => late.session?.inForce ?? inForce,
  });
  const transport = options.createTransport(
    {
      address,
      bindHost,
      bindPort,
      seeds: addresses.filter((each) => each !== address),
      greeting: (to) => gate.greeting(to),
    },
    {
      ...handlers,
      readCheckpoint: (position, offsetBytes, lengthBytes) =>
        checkpoints.readPart(position, offsetBytes, lengthBytes),
    },
  );
  transport.setMembership(inForce.membership);
  const tellDisk = ({ addresses }: Membership) =>
    options.fileSystem.setAlone?.(addresses.size === 1 && addresses.has(identity.memberId));
  tellDisk(inForce.membership);
  const session = { raft, wal, transport, gate, inForce, tellDisk };
  late.session = session;
  return session;
}

/** The newest one that is committed for certain. */
function inForceAt(wal: Wal, committed: number): InForce {
  const found = wal.memberships().findLast(({ index }, at) => at === 0 || index <= committed);
  invariant(found !== undefined, "a log begins with a membership");
  return found;
}

/**
 * Whether the log says that this master was a member and is none any more. One that came later may find memberships in
 * the log that are older than its own.
 */
export function wasRemoved(
  { wal, inForce, gate }: Session,
  { standing, memberId }: JournalIdentity,
): boolean {
  if (inForce.membership.addresses.has(memberId)) return false;
  if (standing === "founder") return true;
  const { memberAsOf } = gate.greeting(null);
  if (memberAsOf !== null && memberAsOf <= inForce.index) return true;
  return wal
    .memberships()
    .some(({ index, membership }) => index < inForce.index && membership.addresses.has(memberId));
}

function checkState(wal: Wal, { state, thread, stateRefusal }: SessionOptions): void {
  const { index } = state;
  const { folder } = thread;
  const [firstIndex, lastIndex] = [wal.firstIndex(), wal.lastIndex()];
  if (index < firstIndex - 1)
    throw (
      stateRefusal ??
      new RockpoolError(
        "DATA_LOSS",
        `The metadata holds entries through ${index}, the journal in ${folder} begins with entry ${firstIndex}, and no sound checkpoint lies between`,
        "If other masters are up, move the journal and metadata folders of this one away, run `bin/rockpool init format` on it, and start it: it joins them anew; if it is the only one, restore a backup",
      )
    );
  if (index <= lastIndex) return;
  throw new RockpoolError(
    "FAILED_PRECONDITION",
    `The metadata store has applied entry ${index}, and the journal in ${folder} holds entries ${firstIndex} to ${lastIndex}: they do not belong together`,
    "Restore the journal folder and the metadata folder from one moment, or remove the metadata folder to build it anew from the journal",
  );
}

function raftConfig({ thread, identity, appliedIndex }: SessionOptions): RaftConfig {
  const { tickMs, heartbeatMs, electionMinMs, electionMaxMs } = thread.timings;
  const ticks = (ms: number) => Math.max(1, Math.round(ms / tickMs));
  return {
    id: identity.memberId,
    appliedIndex,
    electionTicksMin: ticks(electionMinMs),
    electionTicksMax: ticks(electionMaxMs),
    heartbeatTicks: ticks(heartbeatMs),
    ...thread.replication,
  };
}

/** What the main thread is told of the members. */
export function statusOf(
  session: Session,
  self: MemberStatus["id"],
  silenceMaxMs: number,
): ThreadStatus {
  const { raft, transport, inForce } = session;
  const { lastIndex, commitIndex, progress, role } = raft.status();
  const { voters, learners, addresses } = inForce.membership;
  const members = [...voters, ...learners].map((id): MemberStatus => {
    const isSelf = id === self;
    const known = progress.find((peer) => peer.id === id)?.matchIndex ?? null;
    return {
      id,
      address: addresses.get(id) ?? "",
      isSelf,
      standing: voters.includes(id) ? "voter" : "learner",
      isAvailable: isSelf || (transport.isConnected(id) && transport.silenceMs(id) <= silenceMaxMs),
      matchIndex: role === "leader" && isSelf ? lastIndex : known,
    };
  });
  return { self, lastIndex, commitIndex, members };
}

/** Before it is known who the members are: the configured addresses. */
export function undecidedStatus({ address, addresses }: ThreadOptions): ThreadStatus {
  const members = addresses.map((each): MemberStatus => {
    const isSelf = each === address;
    const id = memberIdOf(each);
    return { id, address: each, isSelf, standing: "voter", isAvailable: isSelf, matchIndex: null };
  });
  return { self: null, lastIndex: 0, commitIndex: 0, members };
}
