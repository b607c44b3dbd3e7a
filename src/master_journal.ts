/**
 * The journal of a master for its administrators: what it is made of, how it is, and what may be done with it.
 *
 * What events tell (damage, a full disk) is kept here; the newest checkpoint is looked up in the folder, so that one of
 * before this process began counts too.
 * @module
 */
import { readdir, stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { messageOf, RockpoolError } from "./common/errors.ts";
import { MasterKeys } from "./conf/master_keys.ts";
import { type DaemonContext, machineName } from "./daemon.ts";
import type { JournalEvent } from "./journal/journal_protocol.ts";
import type { JournalSystem } from "./journal/journal_system.ts";
import { configurationDigest } from "./launch/configuration_digest.ts";
import { type JournalPort, memberAt, type QuorumMember } from "./master/services_journal.ts";
import type { RaftReportInit } from "./proto/gen/rockpool_internal.ts";
import { percentile, type TimerReading } from "./telemetry/timer.ts";
import type { Timer } from "./world/ports.ts";

const CHECKPOINT_FILE = /^checkpoint-(\d{16})$/;

type Checkpoint = { readonly index: number; readonly timeMs: number };
type Room = { readonly freeBytes: number; readonly totalBytes: number };

/** What the events of the journal say of its condition. */
export class JournalCondition {
  #promisedIndex: number | null = null;
  #isReadOnly = false;
  #repairCount = 0;
  #checkpoint: Checkpoint | null = null;
  readonly #wallMs: () => number;

  constructor(wallMs: () => number) {
    this.#wallMs = wallMs;
  }

  /** The last one that was made or installed since this process began. */
  get checkpoint(): Checkpoint | null {
    return this.#checkpoint;
  }

  get promisedIndex(): number | null {
    return this.#promisedIndex;
  }

  get isReadOnly(): boolean {
    return this.#isReadOnly;
  }

  /** Since this process began. */
  get repairCount(): number {
    return this.#repairCount;
  }

  readonly onEvent = (event: JournalEvent): void => {
    switch (event.kind) {
      case "damageFound":
        if (event.verdict === "promised") this.#promisedIndex = event.lastIndex;
        break;
      case "repairing":
      case "repairStuck":
        this.#promisedIndex = event.promisedIndex;
        break;
      case "repaired":
        this.#promisedIndex = null;
        this.#repairCount++;
        break;
      case "checkpointMade":
      case "checkpointInstalled":
        this.#checkpoint = { index: event.index, timeMs: this.#wallMs() };
        break;
      case "readOnly":
        this.#isReadOnly = true;
        break;
      case "writableAgain":
        this.#isReadOnly = false;
        break;
      default:
    }
  };
}

/** The newest checkpoint that lies in the folder; null for none. */
async function newestCheckpoint(folder: string): Promise<Checkpoint | null> {
  const indices = (await readdir(folder))
    .flatMap((name) => CHECKPOINT_FILE.exec(name)?.[1] ?? [])
    .sort();
  for (let newest = indices.pop(); newest !== undefined; newest = indices.pop())
    try {
      const { mtimeMs } = await stat(join(folder, `checkpoint-${newest}`));
      return { index: Number(newest), timeMs: Math.round(mtimeMs) };
    } catch (error) {
      // It was found damaged, or replaced by a newer one, since the folder was read.
      if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
    }
  return null;
}

async function roomOf(folder: string): Promise<Room> {
  const { bavail, blocks, bsize } = await statfs(folder);
  return { freeBytes: bavail * bsize, totalBytes: blocks * bsize };
}

function p99Us({ samplesMs }: TimerReading): number | undefined {
  if (samplesMs.length === 0) return undefined;
  const sorted = [...samplesMs].sort((a, b) => a - b);
  return Math.round(percentile(sorted, 0.99) * 1000);
}

export type MasterJournalOptions = {
  readonly context: DaemonContext;
  /** This master's own, host:port of its journal. */
  readonly address: string;
  readonly journal: JournalSystem<unknown>;
  /** It lies on a store that the masters share: no disk of this machine, and no members to add or remove. */
  readonly isShared: boolean;
  readonly condition: JournalCondition;
  /** Null while nothing is restored. */
  readonly restoreProgress: () => string | null;
};

export class MasterJournal implements JournalPort {
  readonly #options: MasterJournalOptions;
  readonly #folder: string;
  readonly #configurationDigest: string;
  #checkpoint: Checkpoint | null = null;
  #room: Room = { freeBytes: 0, totalBytes: 0 };
  #looks: Timer | null = null;
  #isClosed = false;

  constructor(options: MasterJournalOptions) {
    this.#options = options;
    this.#configurationDigest = configurationDigest(options.context.configuration);
    this.#folder = options.context.configuration.get(MasterKeys.journalFolder);
  }

  get checkpointSeen(): Checkpoint | null {
    return this.#options.condition.checkpoint ?? this.#checkpoint;
  }

  /** Room on the disk, as it was when last looked at. */
  get roomSeen(): Room {
    return this.#room;
  }

  /** Looks at the disk now and then, and says when there is little room. */
  watch(): void {
    if (this.#options.isShared) return;
    const { live, world, telemetry } = this.#options.context;
    const look = async (): Promise<void> => {
      if (await this.#look()) {
        const { freeBytes, totalBytes } = this.#room;
        const threshold = live.get(MasterKeys.journalSpaceThreshold);
        const freePercent = totalBytes === 0 ? 100 : Math.floor((100 * freeBytes) / totalBytes);
        if (freePercent < threshold)
          telemetry.logger.log("warn", "journal", "journalSpaceLow", {
            folder: this.#folder,
            freeBytes,
            freePercent,
            threshold,
          });
      }
      if (this.#isClosed) return;
      const everyMs = live.get(MasterKeys.journalSpaceInterval);
      this.#looks = world.timers.after(everyMs, () => void look()); // it fails by a bug only
    };
    void look(); // as above
  }

  close(): void {
    this.#isClosed = true;
    this.#looks?.cancel();
  }

  /** @returns false when the disk did not answer: then what was seen last stays, and the log says why */
  async #look(): Promise<boolean> {
    if (this.#options.isShared) return true;
    const folder = this.#folder;
    try {
      [this.#room, this.#checkpoint] = await Promise.all([
        roomOf(folder),
        newestCheckpoint(folder),
      ]);
      return true;
    } catch (error) {
      const { logger } = this.#options.context.telemetry;
      logger.log("warn", "journal", "journalSpaceUnknown", { folder, error: messageOf(error) });
      return false;
    }
  }

  members(): readonly QuorumMember[] {
    return this.#options.journal.status().members.map((member) => ({
      address: member.address,
      isSelf: member.isSelf,
      isLeader: member.isLeader,
      isVoter: member.standing === "voter",
      isAvailable: member.isAvailable,
    }));
  }

  async report(): Promise<RaftReportInit> {
    const { journal, condition, restoreProgress } = this.#options;
    await this.#look();
    const status = journal.status();
    const checkpoint = this.checkpointSeen;
    return {
      address: this.#options.address,
      role: status.role,
      isServing: status.isServing,
      term: status.term,
      lastIndex: status.lastIndex,
      commitIndex: status.commitIndex,
      appliedIndex: status.appliedIndex,
      members: status.members.map((member) => ({
        address: member.address,
        isVoter: member.standing === "voter",
        isLeader: member.isLeader,
        isAvailable: member.isAvailable,
        matchIndex: member.matchIndex ?? undefined,
      })),
      checkpointIndex: checkpoint?.index,
      checkpointTimeMs: checkpoint?.timeMs,
      promisedIndex: condition.promisedIndex ?? undefined,
      diskFreeBytes: this.#room.freeBytes,
      diskTotalBytes: this.#room.totalBytes,
      isReadOnly: condition.isReadOnly,
      repairCount: condition.repairCount,
      restoreProgress: restoreProgress() ?? undefined,
      syncP99Us: p99Us(status.flushes),
      lagP99Us: p99Us(status.lags),
      configurationDigest: this.#configurationDigest,
    };
  }

  async transferTo(address: string): Promise<void> {
    const { journal } = this.#options;
    const { members } = journal.status();
    const { address: known } = memberAt(this.members(), address);
    this.#requireNext(known);
    const heir = members.find((member) => member.address === known);
    if (heir !== undefined) await journal.transferLeadership(heir.id);
  }

  async addMember(address: string, timeoutMs: number): Promise<void> {
    this.#requireMembers();
    return this.#options.journal.addMember(address, timeoutMs);
  }

  /**
   * A leader that is to go hands over first: the next one serves within milliseconds and removes it, where those that a leader
   * leaves behind would have to find out and elect.
   */
  async removeMember(address: string): Promise<void> {
    this.#requireMembers();
    const { journal } = this.#options;
    const { members } = journal.status();
    const [heir] = members
      .filter(({ standing, isSelf, isAvailable }) => standing === "voter" && !isSelf && isAvailable)
      .sort((a, b) => (b.matchIndex ?? 0) - (a.matchIndex ?? 0));
    const isSelf = members.some((member) => member.isSelf && member.address === address);
    if (!isSelf || heir === undefined) return journal.removeMember(address);
    await journal.transferLeadership(heir.id);
    throw new RockpoolError(
      "UNAVAILABLE",
      `${address} handed leadership to ${heir.address}, which can remove it`,
      "Send the request again: clients do so by themselves",
    );
  }

  /** Who leads next is ZooKeeper's to say: whoever has waited longest. */
  #requireNext(address: string): void {
    if (!this.#options.isShared) return;
    const next = this.members().find(({ isSelf }) => !isSelf);
    if (next === undefined || next.address === address) return;
    throw new RockpoolError(
      "FAILED_PRECONDITION",
      `${address} is not the next in ZooKeeper's line: ${next.address} is`,
      `Elect ${next.address}, or restart the masters before ${address}: they then stand behind it`,
    );
  }

  #requireMembers(): void {
    if (!this.#options.isShared) return;
    throw new RockpoolError(
      "FAILED_PRECONDITION",
      "Masters that share a journal have no quorum: whoever runs with the same ZooKeeper takes part",
      "Start or stop the master itself",
    );
  }

  async checkpoint(): Promise<string> {
    await this.#options.journal.checkpoint();
    const { configuration } = this.#options.context;
    return configuration.get(MasterKeys.hostname) ?? machineName(configuration);
  }
}
