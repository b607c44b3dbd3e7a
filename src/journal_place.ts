/**
 * The journal of a master, joined: which kind it is, where it lies, how this master takes part in it.
 * @module
 */
import { existsSync } from "node:fs";
import { RockpoolError } from "./common/errors.ts";
import { invariant } from "./common/invariant.ts";
import { electionTimes, journalMembership } from "./conf/cluster.ts";
import { CommonKeys } from "./conf/common_keys.ts";
import type { Configuration } from "./conf/configuration.ts";
import { formatHostPort, parseHostPort } from "./conf/key_spec.ts";
import { MasterKeys } from "./conf/master_keys.ts";
import { hasSharedJournal } from "./conf/shared_journal.ts";
import { type DaemonContext, StartFailure } from "./daemon.ts";
import { isLocalHost } from "./format.ts";
import { nodeFileSystem } from "./journal/file_system.ts";
import { readIdentityFile } from "./journal/journal_folder.ts";
import { isFormatted } from "./journal/journal_format.ts";
import {
  type ConnectThread,
  exitCodeOf,
  type JournalEvent,
  type JournalTimings,
} from "./journal/journal_protocol.ts";
import { RaftJournal } from "./journal/raft_journal.ts";
import { workerThread } from "./journal/thread_port.ts";
import { crc32c } from "./kernels/fallback.ts";
import type { ApplyResult } from "./master/apply.ts";
import type { MasterState } from "./master/state_machine.ts";
import type { JournalCondition } from "./master_journal.ts";
import type { JournalTimes } from "./master_watch.ts";
import { connectShared, openShared, ownRpcAddress, type SharedJournal } from "./shared_journal.ts";
import { AloneElector } from "./ufs_journal/alone_elector.ts";
import type { Elector } from "./ufs_journal/elector.ts";
import { isUsed } from "./ufs_journal/identity.ts";
import type { ElectionEvent } from "./zookeeper/leader_election.ts";
import { createElector } from "./zookeeper_masters.ts";

/** A tick of the election clock: fine enough for the times that it counts. */
const TICK_MS_MAX = 10;
const TICKS_PER_HEARTBEAT = 5;

function journalTimings(configuration: Configuration): JournalTimings {
  const { electionTimeoutMinMs, electionTimeoutMaxMs, heartbeatIntervalMs } =
    electionTimes(configuration);
  const tickMs = Math.max(
    1,
    Math.min(TICK_MS_MAX, Math.floor(heartbeatIntervalMs / TICKS_PER_HEARTBEAT)),
  );
  return {
    tickMs,
    heartbeatMs: heartbeatIntervalMs,
    electionMinMs: electionTimeoutMinMs,
    electionMaxMs: electionTimeoutMaxMs,
  };
}

/** How loud each event of the journal is in the log; what is not named here is information. */
const JOURNAL_LEVELS = {
  segmentBegun: "debug",
  peerDisconnected: "info",
  peerDied: "info",
  undecided: "info",
  configurationDiffers: "warn",
  tornTailDropped: "warn",
  damageFound: "error",
  damagedSetAside: "warn",
  logBeginsAtState: "warn",
  scrubFoundDamage: "error",
  stalled: "warn",
  checkpointFailed: "warn",
  fetchFailed: "warn",
  checkpointDamaged: "error",
  repairing: "warn",
  repairStuck: "error",
  refusedByPeer: "warn",
  readOnly: "error",
  peerWiped: "error",
  quorumLost: "warn",
  notTakenIn: "warn",
  addressListsDiffer: "warn",
  deposed: "warn",
  logMerged: "debug",
  storeTrouble: "warn",
  sharedJournalDamaged: "error",
  fatal: "fatal",
} as const;

/** How this master takes part in its journal: its own address there, those of all, and what stands behind it. */
export type JournalPlace = {
  readonly address: string;
  readonly addresses: readonly string[];
  readonly connect: ConnectThread;
};

/** Of a journal that the masters replicate among themselves. */
function embeddedPlace({ configuration, scriptFolder }: DaemonContext): JournalPlace {
  const { members, self } = journalMembership(configuration, isLocalHost);
  const kernelFlavour = configuration.get(CommonKeys.rockpoolCore);
  return {
    address: formatHostPort(self),
    addresses: members.map(formatHostPort),
    connect: workerThread(new URL("journal_thread.js", scriptFolder), { kernelFlavour }),
  };
}

const ELECTION_LEVELS = {
  zookeeperDisconnected: "warn",
  zookeeperSessionEnded: "warn",
  deposed: "warn",
  electionFailing: "warn",
} as const;

function electorOf({ configuration, telemetry, world }: DaemonContext): Elector {
  const address = ownRpcAddress(configuration);
  if (!configuration.get(MasterKeys.zookeeperEnabled))
    return new AloneElector(address, world.timers);
  const onEvent = telemetry.listen<ElectionEvent>("election", ELECTION_LEVELS);
  const self = parseHostPort(address);
  invariant(self !== null, "an address that was made of host and port is one");
  return createElector(configuration, world, self, onEvent);
}

/** Of one that they share: whoever runs takes part. */
function sharedPlace(context: DaemonContext, shared: SharedJournal): JournalPlace {
  const address = ownRpcAddress(context.configuration);
  const elector = electorOf(context);
  return { address, addresses: [address], connect: connectShared(context, shared, elector) };
}

export function openJournal(
  context: DaemonContext,
  { address, addresses, connect }: JournalPlace,
  state: MasterState,
  condition: JournalCondition,
  journalTimes: JournalTimes,
): RaftJournal<ApplyResult> {
  const { configuration, telemetry, world } = context;
  const log = telemetry.listen<JournalEvent>("journal", JOURNAL_LEVELS);
  return new RaftJournal<ApplyResult>({
    folder: configuration.get(MasterKeys.journalFolder),
    ...{ address, addresses, connect, world },
    bindHost: configuration.get(MasterKeys.journalBindHost),
    bindPort: configuration.get(MasterKeys.journalPort),
    stateMachine: state.stateMachine,
    timings: journalTimings(configuration),
    checkpointEntries: configuration.get(MasterKeys.checkpointPeriodEntries),
    onEvent: (event) => {
      log(event);
      condition.onEvent(event);
      journalTimes.onEvent(event);
      if (event.kind !== "fatal") return;
      const { exitCode, message, remedy, detail } = event;
      context.fatal(exitCode, message, { remedy, detail });
    },
  });
}

function requireFormatted(configuration: Configuration): void {
  const folder = configuration.get(MasterKeys.journalFolder);
  if (isFormatted(folder)) return;
  throw new RockpoolError(
    "FAILED_PRECONDITION",
    `The journal ${folder} (${MasterKeys.journalFolder.key}) ${existsSync(folder) ? "was never formatted" : "does not exist"}`,
    "Run `bin/rockpool init format` once on every master before the first start; it says so when that folder cannot be made",
  );
}

/** Whether the journal was formatted and has never taken part in anything. */
function isNeverUsed(configuration: Configuration): boolean {
  const folder = configuration.get(MasterKeys.journalFolder);
  const { standing } = readIdentityFile(nodeFileSystem(), folder, crc32c);
  return standing === "undecided";
}

/** A journal that this master can open. */
export type FoundJournal = {
  readonly place: JournalPlace;
  /** Nothing was ever written to it. */
  readonly isFresh: boolean;
  /** Of a shared one. */
  readonly groupId: bigint | null;
};

/** @throws RockpoolError when the journal was never formatted */
export async function journalPlace(context: DaemonContext): Promise<FoundJournal> {
  const { configuration } = context;
  if (!hasSharedJournal(configuration)) {
    requireFormatted(configuration);
    const isFresh = isNeverUsed(configuration);
    return { place: embeddedPlace(context), isFresh, groupId: null };
  }
  const shared = await openShared(configuration);
  const isFresh = !(await isUsed(shared.store, shared.identity));
  const { groupId } = shared.identity;
  return { place: sharedPlace(context, shared), isFresh, groupId };
}

/** A journal that does not open says by itself how the process ends. */
export async function startJournal(journal: RaftJournal<ApplyResult>): Promise<void> {
  try {
    await journal.start();
  } catch (error) {
    throw new StartFailure(exitCodeOf(error), error);
  }
}
