/**
 * What the leader knows of one peer, and how fast it may send to it.
 *
 * - probe: the position where the logs match is not known; one append at a time, then wait for the
 *   answer.
 * - replicate: it is known; appends follow one another unanswered, within a window of entries and
 *   bytes. A refusal, or the death of the peer, leads back to probe.
 * - snapshot: the peer needs entries that were trimmed here, and was offered a snapshot; it gets nothing but heartbeats
 *   until it acknowledges something, or its process dies. The offer is repeated, since it may be lost.
 *
 * When nothing was sent for a heartbeat's time and an answer is still missing, it may be lost, or
 * the peer's disk slow. Then a probe is repeated, with one entry; while replicating an empty append asks again: it tells
 * which. Both cost next to nothing, however long the peer takes.
 *
 * Invariant: matchIndex < nextIndex. Within a reign matchIndex goes back only when the peer says that it lost its log.
 * @module
 */
import type { LogIndex, MemberId } from "../common/ids.ts";
import { invariant } from "../common/invariant.ts";
import { entryBytes } from "./log.ts";
import type { Entry, RaftConfig, RaftStatus } from "./messages.ts";

type Window = Pick<
  RaftConfig,
  "inflightEntriesMax" | "inflightBytesMax" | "heartbeatTicks" | "electionTicksMax"
>;
type Mode = RaftStatus["progress"][number]["mode"];
type InFlight = { readonly lastIndex: LogIndex; readonly entries: number; readonly bytes: number };

export class Progress {
  readonly id: MemberId;
  /** The leader's tick at which the peer was last heard; before the first time: long ago. */
  heardTick = Number.NEGATIVE_INFINITY;
  /** The newest read context that the peer has confirmed in this term. */
  readContext = 0;
  /** The commit index that the peer was last told with an append. */
  toldCommitIndex: LogIndex = 0;

  readonly #window: Window;
  #matchIndex: LogIndex = 0;
  #nextIndex: LogIndex;
  #mode: Mode = "probe";
  /** probe: whether an append is on its way. */
  #isProbeOut = false;
  /** probe: whether one has got no answer yet. */
  #isProbeRepeated = false;
  /** What was sent may be lost; an empty append will tell. */
  #isCheckDue = false;
  #lastSentTick = 0;
  #inflight: InFlight[] = [];
  #inflightEntries = 0;
  #inflightBytes = 0;

  constructor(id: MemberId, nextIndex: LogIndex, window: Window) {
    this.id = id;
    this.#nextIndex = nextIndex;
    this.#window = window;
  }

  get matchIndex(): LogIndex {
    return this.#matchIndex;
  }
  get nextIndex(): LogIndex {
    return this.#nextIndex;
  }
  get mode(): Mode {
    return this.#mode;
  }
  get isReplicating(): boolean {
    return this.#mode === "replicate";
  }
  /** True when an append should be sent even if it holds no entries. */
  get isEmptyAppendDue(): boolean {
    return this.#isCheckDue || (this.#mode === "probe" && !this.#isProbeOut);
  }

  /** How much may be sent now: 0 entries while a probe or a full window waits for an answer. */
  room(): { readonly entries: number; readonly bytes: number } {
    const { inflightEntriesMax: entriesMax, inflightBytesMax: bytesMax } = this.#window;
    if (this.#mode === "snapshot") return { entries: 0, bytes: 0 };
    if (this.#mode === "probe") {
      const most = this.#isProbeRepeated ? 1 : entriesMax;
      return { entries: this.#isProbeOut ? 0 : most, bytes: bytesMax };
    }
    const bytes = bytesMax - this.#inflightBytes;
    return { entries: bytes > 0 ? entriesMax - this.#inflightEntries : 0, bytes };
  }

  /** Notes an append of `entries` at `nextIndex`. */
  sent(entries: readonly Entry[], tick: number): void {
    this.#lastSentTick = tick;
    this.#isCheckDue = false;
    if (this.#mode === "probe") {
      this.#isProbeOut = true;
      return;
    }
    const last = entries.at(-1);
    if (last === undefined) return;
    const bytes = entries.reduce((sum, entry) => sum + entryBytes(entry), 0);
    this.#inflight.push({ lastIndex: last.index, entries: entries.length, bytes });
    this.#inflightEntries += entries.length;
    this.#inflightBytes += bytes;
    this.#nextIndex = last.index + 1;
  }

  /** The peer holds everything through `matchIndex`. */
  accepted(matchIndex: LogIndex): void {
    // An old answer says nothing about a probe that was sent later, at a higher position.
    if (matchIndex < this.#matchIndex) return;
    this.#matchIndex = matchIndex;
    this.#nextIndex = Math.max(this.#nextIndex, matchIndex + 1);
    if (this.#mode !== "replicate") {
      this.#mode = "replicate";
      this.#nextIndex = matchIndex + 1;
      this.#forgetSent();
    }
    let freed = 0;
    for (const sent of this.#inflight) {
      if (sent.lastIndex > matchIndex) break;
      this.#inflightEntries -= sent.entries;
      this.#inflightBytes -= sent.bytes;
      freed += 1;
    }
    this.#inflight.splice(0, freed);
    invariant(this.#inflightEntries >= 0, "the window never holds less than nothing");
  }

  /** False for an answer to something older than what is known or asked now. */
  isRejectionCurrent(rejectedIndex: LogIndex): boolean {
    if (rejectedIndex <= this.#matchIndex || this.#mode === "snapshot") return false;
    return this.#mode === "replicate" || rejectedIndex === this.#nextIndex - 1;
  }

  /** The peer lacks `rejectedIndex`; the logs may match through `candidateIndex`. */
  rejected(rejectedIndex: LogIndex, candidateIndex: LogIndex): void {
    const candidate = Math.min(rejectedIndex - 1, candidateIndex);
    // While replicating the match is proved, and only what followed it was lost.
    const known = this.#mode === "replicate" ? this.#matchIndex : candidate;
    this.#probeFrom(Math.max(known, this.#matchIndex) + 1);
  }

  /** Notes the offer of a snapshot. */
  offered(tick: number): void {
    this.#probeFrom(this.#matchIndex + 1);
    this.#mode = "snapshot";
    this.#lastSentTick = tick;
  }

  /** Whether the offer may be lost, or what was offered gone by now. */
  isOfferDue(tick: number): boolean {
    return this.#mode === "snapshot" && tick - this.#lastSentTick >= this.#window.electionTicksMax;
  }

  /** The peer's log was damaged, and now ends before what it had acknowledged. */
  damaged(candidateIndex: LogIndex): void {
    this.#matchIndex = 0;
    this.toldCommitIndex = 0;
    this.#probeFrom(candidateIndex + 1);
  }

  /** A heartbeat came back: the peer lives, and what was sent long before has arrived or is lost. */
  heartbeatAnswered(tick: number): void {
    if (tick - this.#lastSentTick < this.#window.heartbeatTicks) return;
    this.#isProbeRepeated = this.#isProbeOut;
    this.#isProbeOut = false;
    this.#isCheckDue = this.#inflight.length > 0;
  }

  /** The peer's process is gone, and with it what was on its way. */
  lost(): void {
    this.#probeFrom(this.#matchIndex + 1);
  }

  #probeFrom(nextIndex: LogIndex): void {
    this.#mode = "probe";
    this.#nextIndex = nextIndex;
    this.#forgetSent();
  }

  #forgetSent(): void {
    this.#isProbeOut = false;
    this.#isProbeRepeated = false;
    this.#isCheckDue = false;
    this.#inflight = [];
    this.#inflightEntries = 0;
    this.#inflightBytes = 0;
  }
}
