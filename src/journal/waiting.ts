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
import { PROPOSALS_MAX } from "../common/limits.ts";

/** Payloads that wait for a commit; with PROPOSALS_MAX alone they might be 16 GiB. */
const PROPOSAL_BYTES_MAX = 64 * 1024 * 1024;

type Proposal<R> = {
  readonly payload: Uint8Array;
  readonly resolve: (result: R) => void;
  readonly reject: (error: RockpoolError) => void;
};

export class WaitingProposals<R> {
  #queued: Proposal<R>[] = [];
  #requested = new Map<number, readonly Proposal<R>[]>();
  #accepted = new Map<LogIndex, { readonly term: Term; readonly proposal: Proposal<R> }>();
  #requestId = 0;
  #count = 0;
  #bytes = 0;

  /** @throws RockpoolError RESOURCE_EXHAUSTED (as a rejection) when too many wait */
  add(payload: Uint8Array): Promise<R> {
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
    return new Promise((resolve, reject) => {
      this.#queued.push({ payload, resolve, reject });
    });
  }

  /** What was added since the last time, to be sent under an id; null for nothing. */
  takeQueued(): { readonly requestId: number; readonly payloads: readonly Uint8Array[] } | null {
    if (this.#queued.length === 0) return null;
    const proposals = this.#queued;
    this.#queued = [];
    this.#requestId += 1;
    this.#requested.set(this.#requestId, proposals);
    return {
      requestId: this.#requestId,
      payloads: proposals.map(({ payload }) => payload),
    };
  }

  accepted(requestId: number, firstIndex: LogIndex, term: Term): void {
    const proposals = this.#requested.get(requestId) ?? [];
    this.#requested.delete(requestId);
    for (const [at, proposal] of proposals.entries())
      this.#accepted.set(firstIndex + at, { term, proposal });
  }

  refused(requestId: number, error: RockpoolError): void {
    const proposals = this.#requested.get(requestId) ?? [];
    this.#requested.delete(requestId);
    for (const proposal of proposals) this.#reject(proposal, error);
  }

  /** The entry at `index` is applied. An entry of another term there means that the proposal's own is gone. */
  applied(index: LogIndex, term: Term, result: R, overwritten: () => RockpoolError): void {
    const accepted = this.#accepted.get(index);
    if (accepted === undefined) return;
    this.#accepted.delete(index);
    if (accepted.term !== term) {
      this.#reject(accepted.proposal, overwritten());
      return;
    }
    this.#release(accepted.proposal);
    accepted.proposal.resolve(result);
  }

  rejectAll(error: () => RockpoolError): void {
    const proposals = [
      ...[...this.#accepted.values()].map(({ proposal }) => proposal),
      ...[...this.#requested.values()].flat(),
      ...this.#queued,
    ];
    this.#accepted.clear();
    this.#requested.clear();
    this.#queued = [];
    for (const proposal of proposals) this.#reject(proposal, error());
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
