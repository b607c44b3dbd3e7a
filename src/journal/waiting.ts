/**
 * Who waits for the journal on the main thread: proposals for their results, readers for their index.
 *
 * A proposal goes from `queued` (this turn of the loop) to `requested` (sent to the journal thread) to `accepted` (in the
 * log, at an index and under a term), and is answered when the entry of that index and term is applied. The end of a
 * reign rejects all of them wherever they are; answers that come later find nobody.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import type { LogIndex, Term } from "../common/ids.ts";
import { invariant } from "../common/invariant.ts";
import { PROPOSALS_MAX } from "../common/limits.ts";
import { type Packed, pack, unpackInto } from "./journal_protocol.ts";
import type { ProposalTimes } from "./journal_system.ts";

/** Payloads that wait for a commit; with PROPOSALS_MAX alone they might be 16 GiB. */
const PROPOSAL_BYTES_MAX = 64 * 1024 * 1024;

type Proposal<R> = {
  readonly payload: Uint8Array;
  readonly stopwatch: Stopwatch | null;
  readonly resolve: (result: R) => void;
  readonly reject: (error: RockpoolError) => void;
};

/** One proposal on its way, for whoever asked where the time goes. */
type Stopwatch = { readonly times: ProposalTimes; readonly addedMs: number; sentMs: number };

/** What was sent at once. Its bytes stay until all of it is applied, since the journal thread does not send them back. */
type Request<R> = {
  readonly packed: Packed;
  /** Of its entries, those that no later reign is known to have replaced. */
  count: number;
  /** Empty once nobody waits for them any more. */
  proposals: readonly Proposal<R>[];
  /** How many of them are answered; in order. */
  answered: number;
  firstIndex: LogIndex;
  term: Term;
};

export class WaitingProposals<R> {
  readonly #nowMs: () => number;
  #queued: Proposal<R>[] = [];
  #requested = new Map<number, Request<R>>();
  /** In the order of the log. */
  #accepted: Request<R>[] = [];
  #requestId = 0;
  #count = 0;
  #bytes = 0;

  /** @param nowMs of a clock that never goes back; asked only for proposals whose time is taken */
  constructor(nowMs: () => number = () => 0) {
    this.#nowMs = nowMs;
  }

  /** @throws RockpoolError RESOURCE_EXHAUSTED (as a rejection) when too many wait */
  add(payload: Uint8Array, times?: ProposalTimes): Promise<R> {
    if (this.#count >= PROPOSALS_MAX || this.#bytes + payload.length > PROPOSAL_BYTES_MAX)
      return Promise.reject(
        new RockpoolError(
          "RESOURCE_EXHAUSTED",
          `${this.#count} changes of ${this.#bytes} B wait for the journal already`,
          "Send fewer requests at a time",
        ),
      );
    this.#count += 1;
    this.#bytes += payload.length;
    const addedMs = times === undefined ? 0 : this.#nowMs();
    const stopwatch = times === undefined ? null : { times, addedMs, sentMs: addedMs };
    return new Promise((resolve, reject) => {
      this.#queued.push({ payload, stopwatch, resolve, reject });
    });
  }

  /** What was added since the last time, to be sent under an id; null for nothing. */
  takeQueued(): { readonly requestId: number; readonly payloads: Packed } | null {
    if (this.#queued.length === 0) return null;
    const proposals = this.#queued;
    this.#queued = [];
    this.#requestId += 1;
    const packed = pack(proposals.map(({ payload }) => payload));
    const requestId = this.#requestId;
    const count = proposals.length;
    const nowhere = { answered: 0, firstIndex: 0, term: 0 };
    this.#requested.set(requestId, { packed, count, proposals, ...nowhere });
    for (const { stopwatch } of proposals) if (stopwatch !== null) stopwatch.sentMs = this.#nowMs();
    return { requestId, payloads: packed };
  }

  accepted(requestId: number, firstIndex: LogIndex, term: Term): void {
    const request = this.#requested.get(requestId);
    if (request === undefined) return;
    this.#requested.delete(requestId);
    this.#replacedFrom(firstIndex);
    request.firstIndex = firstIndex;
    request.term = term;
    this.#accepted.push(request);
  }

  /** A reign appends there: what was accepted in an earlier one, there or behind, is gone. Nobody has waited for it since. */
  #replacedFrom(index: LogIndex): void {
    for (let last = this.#accepted.at(-1); last !== undefined; last = this.#accepted.at(-1)) {
      last.count = Math.min(last.count, index - last.firstIndex);
      if (last.count > 0) return;
      this.#accepted.pop();
    }
  }

  refused(requestId: number, error: RockpoolError): void {
    const request = this.#requested.get(requestId);
    if (request === undefined) return;
    this.#requested.delete(requestId);
    this.#end(request, () => error);
  }

  /** Of entries that were accepted and are not all applied: the bytes that were sent. */
  payloadsOf(firstIndex: LogIndex, count: number, term: Term): Uint8Array[] {
    const payloads: Uint8Array[] = [];
    for (const request of this.#accepted) {
      const next = firstIndex + payloads.length;
      if (payloads.length === count || request.firstIndex > next) break;
      const at = next - request.firstIndex;
      const countMax = Math.min(count - payloads.length, request.count - at);
      if (request.term === term && countMax > 0) unpackInto(payloads, request.packed, at, countMax);
    }
    invariant(payloads.length === count, "what was accepted is kept until it is applied");
    return payloads;
  }

  /**
   * The entry at `index` is applied. An entry of another term there means that the proposal's own is gone.
   * @param committedMs when it was known here to be committed
   */
  applied(
    index: LogIndex,
    term: Term,
    result: R,
    overwritten: () => RockpoolError,
    committedMs = 0,
  ): void {
    for (let [head] = this.#accepted; head !== undefined; [head] = this.#accepted) {
      if (index < head.firstIndex) return;
      const lastIndex = lastIndexOf(head);
      if (index <= lastIndex) this.#answer(head, index, term, result, overwritten, committedMs);
      if (index < lastIndex) return;
      this.#accepted.shift();
      // Where its last entries are another leader's no-ops, nobody was told.
      this.#end(head, overwritten);
      if (index === lastIndex) return;
    }
  }

  #answer(
    request: Request<R>,
    index: LogIndex,
    term: Term,
    result: R,
    overwritten: () => RockpoolError,
    committedMs: number,
  ): void {
    const at = index - request.firstIndex;
    const proposal = request.proposals[at];
    // Applied once more, after the state was put back; or nobody waits.
    if (proposal === undefined || at < request.answered) return;
    for (
      let before = request.proposals[request.answered];
      before !== undefined && request.answered < at;
      before = request.proposals[request.answered]
    ) {
      this.#reject(before, overwritten());
      request.answered += 1;
    }
    request.answered = at + 1;
    if (request.term !== term) {
      this.#reject(proposal, overwritten());
      return;
    }
    this.#release(proposal);
    const { stopwatch } = proposal;
    if (stopwatch !== null) this.#stop(stopwatch, committedMs);
    proposal.resolve(result);
  }

  rejectAll(error: () => RockpoolError): void {
    const queued = this.#queued;
    this.#queued = [];
    // Their bytes stay: they may yet be committed.
    for (const request of [...this.#accepted, ...this.#requested.values()])
      this.#end(request, error);
    for (const proposal of queued) this.#reject(proposal, error());
  }

  /** Rejects those that have no answer. */
  #end(request: Request<R>, error: () => RockpoolError): void {
    const { proposals, answered } = request;
    request.proposals = [];
    for (let at = answered; at < proposals.length; at++) {
      const proposal = proposals[at];
      if (proposal !== undefined) this.#reject(proposal, error());
    }
  }

  #stop({ times, addedMs, sentMs }: Stopwatch, committedMs: number): void {
    const knownMs = Math.max(committedMs, sentMs);
    times.queueMs += sentMs - addedMs;
    times.journalMs += knownMs - sentMs;
    times.applyMs += Math.max(0, this.#nowMs() - knownMs);
  }

  #release({ payload }: Proposal<R>): void {
    this.#count -= 1;
    this.#bytes -= payload.length;
  }

  #reject(proposal: Proposal<R>, error: RockpoolError): void {
    this.#release(proposal);
    proposal.reject(error);
  }
}

function lastIndexOf({
  firstIndex,
  count,
}: Pick<Request<unknown>, "firstIndex" | "count">): LogIndex {
  return firstIndex + count - 1;
}

type Reader = {
  readonly resolve: () => void;
  readonly reject: (error: RockpoolError) => void;
};

export class WaitingReads {
  #queued: Reader[] = [];
  /** By the context under which the core was asked. */
  #asked = new Map<number, readonly Reader[]>();
  /** Confirmed, and not yet applied so far. */
  #confirmed: { readonly index: LogIndex; readonly readers: readonly Reader[] }[] = [];
  #context = 0;
  #count = 0;

  /** @throws RockpoolError RESOURCE_EXHAUSTED (as a rejection) when too many wait */
  add(): Promise<void> {
    if (this.#count >= PROPOSALS_MAX)
      return Promise.reject(
        new RockpoolError(
          "RESOURCE_EXHAUSTED",
          `${this.#count} reads wait for the journal already`,
          "Send fewer requests at a time",
        ),
      );
    this.#count += 1;
    return new Promise((resolve, reject) => {
      this.#queued.push({ resolve, reject });
    });
  }

  /** A fresh context for all that were added since the last time; null for none. */
  takeQueued(): number | null {
    if (this.#queued.length === 0) return null;
    this.#context += 1;
    this.#asked.set(this.#context, this.#queued);
    this.#queued = [];
    return this.#context;
  }

  /** A quorum has confirmed the context: its readers may go on once `index` is applied. */
  confirmed(context: number, index: LogIndex): void {
    const readers = this.#asked.get(context);
    if (readers === undefined) return;
    this.#asked.delete(context);
    this.#confirmed.push({ index, readers });
  }

  applied(throughIndex: LogIndex): void {
    if (this.#confirmed.length === 0) return;
    const due = this.#confirmed.filter(({ index }) => index <= throughIndex);
    this.#confirmed = this.#confirmed.filter(({ index }) => index > throughIndex);
    for (const { readers } of due)
      for (const reader of readers) {
        this.#count -= 1;
        reader.resolve();
      }
  }

  aborted(contexts: readonly number[], error: () => RockpoolError): void {
    for (const context of contexts) {
      const readers = this.#asked.get(context) ?? [];
      this.#asked.delete(context);
      this.#reject(readers, error);
    }
  }

  rejectAll(error: () => RockpoolError): void {
    const readers = [
      ...[...this.#asked.values()].flat(),
      ...this.#confirmed.flatMap((confirmed) => confirmed.readers),
      ...this.#queued,
    ];
    this.#asked.clear();
    this.#confirmed = [];
    this.#queued = [];
    this.#reject(readers, error);
  }

  #reject(readers: readonly Reader[], error: () => RockpoolError): void {
    for (const reader of readers) {
      this.#count -= 1;
      reader.reject(error());
    }
  }
}
