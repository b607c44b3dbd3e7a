/**
 * The log of masters that share a store: immutable objects, of which the *name* is the lock.
 *
 * ```
 * <folder>/rockpool-journal                          which journal this is (identity.ts)
 * <folder>/<group>/log/<first index>                 some entries; 16 hex digits, as all numbers in names
 * <folder>/<group>/merged/<first>-<last>             objects of the log end to end
 * <folder>/<group>/checkpoint/<index>                the state up to there (checkpoint_file.ts of the embedded journal)
 * <folder>/<group>/passed/<level>-<window>           entries of that window may be missing in log/ (windows.ts)
 * ```
 * Promises, and what they rest on:
 *
 * - *Two leaders never both append.* An object is made by exclusive create at the index behind the last one. A new leader first makes a
 *   **fence** there, so whoever led before collides with it in its next append, whenever that comes: it alone appended until then, so the fence's is
 *   the first name that it does not know. Fences are never removed, so this holds for ever.
 * - *A fence counts only at the end of the log.* Whoever was away, or whose create took its time, may make one at an index that others have merged or
 *   trimmed: it is *buried*. It stays where it is, and no one takes it for a part of the log: its window is marked as passed before anything in it is
 *   removed, and never while the log ends in it. So a fence in a window without a mark was the first at its index. In one with a mark it counts if the next object
 *   builds on it; nobody leads, or reads on, by a fence of which that is not sure.
 * - *One history.* An object names the epoch and the seal of the one before it. An epoch is one more than that of the object before the fence: no two fences that count have the same.
 * - *Listings prove nothing.* They are hints for reading ahead and for cleaning, and tell what to begin from; a name that is asked for decides.
 * @module
 */
import { DecodeError } from "../common/bytes.ts";
import { isRockpoolError, RockpoolError } from "../common/errors.ts";
import type { LogIndex, Term } from "../common/ids.ts";
import { invariant } from "../common/invariant.ts";
import type { StatePosition } from "../journal/journal_system.ts";
import { hex64 } from "../journal/member_ids.ts";
import type { Crc32c } from "../journal/record.ts";
import type { LogStore } from "../ufs/log_store.ts";
import {
  decodeLogObject,
  encodeLogObject,
  endOf,
  follows,
  isFence,
  type LogEnd,
  type LogEntry,
  type LogObject,
  placeEntry,
  placeOf,
  sealOf,
} from "./log_object.ts";
import { numberName, Windows } from "./windows.ts";

/** Objects that are read at the same time by who has a lot to catch up with. */
const READ_AHEAD = 16;
const NUMBER = /^[0-9a-f]{16}$/;
const RANGE = /^([0-9a-f]{16})-([0-9a-f]{16})$/;

export type Range = { readonly first: LogIndex; readonly last: LogIndex };

/** What is there besides single objects. */
export type Horizon = {
  /** In rising order. */
  readonly checkpoints: readonly LogIndex[];
  readonly merged: readonly Range[];
};

/** What follows an end of the log. */
export type Found =
  | { readonly kind: "objects"; readonly objects: readonly LogObject[] }
  | { readonly kind: "end" }
  /** What is next was trimmed: the state has to begin from the newest checkpoint. */
  | { readonly kind: "behind" };

/** Where a state stands. */
export type Resumed =
  | {
      readonly kind: "at";
      /** Of the object that the state is in. */
      readonly end: LogEnd;
      /** What of that object is not in the state yet, from `restIndex` on. */
      readonly rest: readonly LogEntry[];
      readonly restIndex: LogIndex;
    }
  | { readonly kind: "behind" };

export type Appended =
  | { readonly kind: "appended"; readonly end: LogEnd }
  /** Somebody else's object is there. */
  | { readonly kind: "lost" };

export type UfsLogOptions = {
  readonly store: LogStore;
  readonly groupId: bigint;
  readonly crc32c: Crc32c;
  /** Part of the format: all masters of a journal have the same. */
  readonly windowEntries: number;
};

export class UfsLog {
  readonly #options: UfsLogOptions;
  readonly #root: string;
  readonly #windows: Windows;
  /** First indices of fences that were seen: they stay, and need not be read again to know it. */
  readonly #fences = new Set<LogIndex>();

  constructor(options: UfsLogOptions) {
    this.#options = options;
    this.#root = hex64(options.groupId);
    const { store, windowEntries } = options;
    this.#windows = new Windows(store, this.#root, windowEntries);
  }

  logName(firstIndex: LogIndex): string {
    return `${this.#root}/log/${numberName(firstIndex)}`;
  }

  checkpointName(index: LogIndex): string {
    return `${this.#root}/checkpoint/${numberName(index)}`;
  }

  mergedName({ first, last }: Range): string {
    return `${this.#root}/merged/${numberName(first)}-${numberName(last)}`;
  }

  // — reading —

  /**
   * Finds the place of a state in the log.
   * @throws RockpoolError DATA_LOSS when the log knows nothing of it; UNAVAILABLE
   */
  async resume({ index, term, membership }: StatePosition): Promise<Resumed> {
    if (index === 0 || membership === null) {
      const end = { index: 0, epoch: 0, seal: 0 };
      if (index === 0) return { kind: "at", end, rest: [], restIndex: 1 };
      throw this.#unknown(index, term);
    }
    const first = placeOf(membership);
    const object = await this.#objectAt(first);
    // One of another epoch may be a buried fence.
    if (object === null || object.epoch !== term) {
      const { checkpoints } = await this.horizon();
      if ((checkpoints.at(-1) ?? 0) > index) return { kind: "behind" };
      if (await this.isBuried(first)) throw this.#notListed(index);
      throw this.#unknown(index, term);
    }
    const end = endOf(object);
    if (end.index < index) throw this.#unknown(index, term);
    const rest = object.entries.slice(index - first + 1);
    return { kind: "at", end, rest, restIndex: index + 1 };
  }

  /** The object that begins there, alone or merged; null when there is none. */
  async #objectAt(first: LogIndex): Promise<LogObject | null> {
    const { merged } = await this.horizon();
    const range = merged.find((each) => each.first <= first && first <= each.last);
    if (range !== undefined)
      for (const object of await this.#mergedObjects(range))
        if (object.firstIndex === first) return object;
    const bytes = await this.#read(this.logName(first));
    return bytes === null ? null : this.#decode(this.logName(first), bytes);
  }

  #notListed(index: LogIndex): RockpoolError {
    return new RockpoolError(
      "UNAVAILABLE",
      `Listings of ${this.#options.store.uri}/${this.#root} do not show yet where entry ${index} of the journal is now`,
      "It is tried again; if this goes on, look whether objects in checkpoint/ and merged/ were removed by hand",
    );
  }

  #unknown(index: LogIndex, term: Term): RockpoolError {
    return new RockpoolError(
      "DATA_LOSS",
      `The metadata of this master stands at entry ${index} of epoch ${term}, which the journal in ${this.#options.store.uri}/${this.#root} does not know`,
      "Stop this master, remove the files of its alluxio.master.metastore.dir, and start it: they are made anew from the journal",
    );
  }

  /**
   * @param isThorough whether to look also for what was merged or trimmed; at least now and then, and before a fence
   * @throws RockpoolError DATA_LOSS when what is next is damaged or missing; UNAVAILABLE
   */
  async after(end: LogEnd, isThorough: boolean): Promise<Found> {
    const single = await this.#read(this.logName(end.index + 1));
    if (single !== null) return this.#ahead(end, single);
    if (!isThorough) return { kind: "end" };
    const found = await this.#elsewhere(end);
    if (found === null) await this.#demand(end.index + 1);
    return found ?? { kind: "end" };
  }

  /** Whoever removed an object by hand learns it here. @throws RockpoolError DATA_LOSS */
  async #demand(next: LogIndex): Promise<void> {
    const later = await this.#options.store.list(`${this.#root}/log`, numberName(next));
    if (later.length === 0 || (await this.#read(this.logName(next))) !== null) return;
    if (!(await this.isBuried(next))) throw this.#missing(next);
  }

  #missing(index: LogIndex): RockpoolError {
    return new RockpoolError(
      "DATA_LOSS",
      `Entry ${index} of the journal is missing in ${this.#options.store.uri}/${this.#root}`,
      "Bring the object back from a copy of the store, or restore the newest backup into a freshly formatted journal",
    );
  }

  /** What is next as a merged file has it, or that it was trimmed; null when the listings know of neither. */
  async #elsewhere(end: LogEnd): Promise<Found | null> {
    const { checkpoints, merged } = await this.horizon();
    const next = end.index + 1;
    const range = merged.find(({ first, last }) => first <= next && next <= last);
    if (range !== undefined) return this.#fromMerged(end, range);
    return (checkpoints.at(-1) ?? 0) >= next ? { kind: "behind" } : null;
  }

  /** Whether nothing is behind an end that no other master can have merged or trimmed: its own leader's. */
  async isLast(end: LogEnd): Promise<boolean> {
    return (await this.#read(this.logName(end.index + 1))) === null;
  }

  #read(name: string): Promise<Uint8Array | null> {
    return this.#options.store.read(name);
  }

  #decode(name: string, bytes: Uint8Array): LogObject {
    try {
      const { object, sizeBytes } = decodeLogObject(bytes, this.#options.crc32c);
      if (sizeBytes !== bytes.length) throw new DecodeError("Something follows it");
      if (object.groupId !== this.#options.groupId)
        throw new DecodeError("It is of another journal");
      return object;
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      throw this.#damaged(name, error.message);
    }
  }

  #damaged(name: string, why: string): RockpoolError {
    return new RockpoolError(
      "DATA_LOSS",
      `${this.#options.store.uri}/${name} is damaged: ${why}`,
      "Bring the object back from a copy of the store, or restore the newest backup into a freshly formatted journal",
    );
  }

  /** The object that was read, and those behind it that a listing knows. */
  async #ahead(end: LogEnd, single: Uint8Array): Promise<Found> {
    const first = this.#decode(this.logName(end.index + 1), single);
    if (!follows(first, end)) return this.#forked(end, first);
    const objects = [first];
    const names = await this.#options.store.list(`${this.#root}/log`, numberName(end.index + 1));
    const wanted = names.filter((name) => NUMBER.test(name)).slice(0, READ_AHEAD);
    const read = await Promise.all(wanted.map((name) => this.#read(`${this.#root}/log/${name}`)));
    for (const [at, bytes] of read.entries()) {
      const name = wanted[at] ?? "";
      const last = endOf(objects.at(-1) ?? first);
      if (bytes === null || name !== numberName(last.index + 1)) break;
      const object = this.#decode(`${this.#root}/log/${name}`, bytes);
      if (!follows(object, last)) break;
      objects.push(object);
    }
    return this.#sure(end, objects);
  }

  /** What of these is sure to be in the log: all but a fence at their end that may be buried. */
  async #sure(end: LogEnd, objects: readonly LogObject[]): Promise<Found> {
    const last = objects.at(-1);
    if (last === undefined || !isFence(last) || !(await this.isBuried(last.firstIndex)))
      return { kind: "objects", objects };
    const next = this.logName(endOf(last).index + 1);
    const bytes = await this.#read(next);
    if (bytes !== null && follows(this.#decode(next, bytes), endOf(last)))
      return { kind: "objects", objects };
    if (objects.length > 1) return { kind: "objects", objects: objects.slice(0, -1) };
    return (await this.#elsewhere(end)) ?? { kind: "end" };
  }

  /** An object that does not belong behind this end: the state is not of this history, or the object is a buried fence. */
  async #forked(end: LogEnd, object: LogObject): Promise<Found> {
    const found = await this.#elsewhere(end);
    if (found !== null) return found;
    const next = end.index + 1;
    if (isFence(object) && (await this.isBuried(next))) throw this.#notListed(next);
    throw this.#damaged(
      this.logName(next),
      `it follows epoch ${object.previousEpoch}, and entry ${end.index} is of epoch ${end.epoch}`,
    );
  }

  async #fromMerged(end: LogEnd, range: Range): Promise<Found> {
    const objects: LogObject[] = [];
    let last = end;
    for (const object of await this.#mergedObjects(range)) {
      if (object.firstIndex <= end.index) continue;
      if (!follows(object, last))
        throw this.#damaged(
          this.mergedName(range),
          `entry ${object.firstIndex} does not follow entry ${last.index} of epoch ${last.epoch}`,
        );
      objects.push(object);
      last = endOf(object);
    }
    return { kind: "objects", objects };
  }

  /** None when it was trimmed meanwhile: the next look finds the checkpoint. */
  async #mergedObjects(range: Range): Promise<readonly LogObject[]> {
    const name = this.mergedName(range);
    const bytes = (await this.#read(name)) ?? new Uint8Array();
    const objects: LogObject[] = [];
    try {
      for (let at = 0; at < bytes.length; ) {
        const { object, sizeBytes } = decodeLogObject(bytes.subarray(at), this.#options.crc32c);
        if (object.groupId !== this.#options.groupId)
          throw new DecodeError("It is of another journal");
        objects.push(object);
        at += sizeBytes;
      }
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      throw this.#damaged(name, error.message);
    }
    return objects;
  }

  async horizon(): Promise<Horizon> {
    const { store } = this.#options;
    const [checkpoints, merged] = await Promise.all([
      store.list(`${this.#root}/checkpoint`),
      store.list(`${this.#root}/merged`),
    ]);
    return {
      checkpoints: checkpoints
        .filter((name) => NUMBER.test(name))
        .map((name) => Number.parseInt(name, 16)),
      merged: merged.flatMap((name) => {
        const [, first, last] = RANGE.exec(name) ?? [];
        if (first === undefined || last === undefined) return [];
        return [{ first: Number.parseInt(first, 16), last: Number.parseInt(last, 16) }];
      }),
    };
  }

  /** First indices of the single objects in front of `before`, as far as the listing knows them. */
  async singlesBefore(before: LogIndex): Promise<readonly LogIndex[]> {
    const names = await this.#options.store.list(`${this.#root}/log`);
    return names
      .filter((name) => NUMBER.test(name))
      .map((name) => Number.parseInt(name, 16))
      .filter((index) => index < before);
  }

  // — writing —

  /** What to append: encoded once, so that each try makes the same object. */
  compose(end: LogEnd, reign: Reign, commands: readonly LogEntry[], madeMs: number): Draft {
    const entries = [placeEntry(end.index + 1), ...commands];
    const object = {
      groupId: this.#options.groupId,
      epoch: reign.epoch,
      previousEpoch: end.epoch,
      firstIndex: end.index + 1,
      writer: reign.writer,
      madeMs,
      previousSeal: sealAt(end),
      entries,
    };
    const bytes = encodeLogObject(object, this.#options.crc32c);
    const seal = sealOf(bytes);
    const last = { index: end.index + entries.length, epoch: reign.epoch, seal };
    return { name: this.logName(object.firstIndex), bytes, end: last };
  }

  /** The first of a reign; its epoch is one more than that of the object before. */
  composeFence(end: LogEnd, writer: Uint8Array, madeMs: number): Draft {
    return this.compose(end, { writer, epoch: end.epoch + 1 }, [], madeMs);
  }

  /**
   * One try.
   * @throws RockpoolError UNAVAILABLE when it is not known whether it is there, or will be; any other: it is not
   */
  async append(draft: Draft): Promise<Appended> {
    const made = await this.#options.store.create(draft.name, draft.bytes);
    if (made === "created") return { kind: "appended", end: draft.end };
    return (await this.find(draft)) ?? { kind: "lost" };
  }

  /** After an append of which nothing is known: null while there is nothing. */
  async find(draft: Draft): Promise<Appended | null> {
    const bytes = await this.#read(draft.name);
    if (bytes === null) return null;
    const isOurs = bytes.length === draft.bytes.length && sealOf(bytes) === draft.end.seal;
    return isOurs ? { kind: "appended", end: draft.end } : { kind: "lost" };
  }

  /** Whether there may have been something else at an index before what is there. To be asked after that was made. */
  isBuried(index: LogIndex): Promise<boolean> {
    return this.#windows.isPassed(index);
  }

  // — keeping it small —

  /** In a log of that end, objects before this may be removed. */
  passedBefore(end: LogIndex): LogIndex {
    return this.#windows.passedBefore(end);
  }

  /**
   * Puts single objects of one reign end to end. All but fences are then superfluous, for `removeMerged`.
   * @param starts where they begin, without a gap, all passed; of this master's own reign
   * @returns which of them were merged
   */
  async merge(
    starts: readonly LogIndex[],
    { epoch, bytesMax }: MergeLimits,
  ): Promise<{ readonly merged: readonly LogIndex[]; readonly superfluous: readonly LogIndex[] }> {
    const parts: Uint8Array[] = [];
    const superfluous: LogIndex[] = [];
    let sizeBytes = 0;
    let last: LogEnd | null = null;
    for (const start of starts) {
      const name = this.logName(start);
      const bytes = sizeBytes < bytesMax ? await this.#read(name) : null;
      if (bytes === null) break;
      const object = this.#decode(name, bytes);
      if (object.epoch !== epoch || (last !== null && !follows(object, last))) break;
      last = endOf(object);
      parts.push(bytes);
      sizeBytes += bytes.length;
      if (!isFence(object)) superfluous.push(start);
    }
    const merged = starts.slice(0, parts.length);
    const [first] = merged;
    if (first === undefined || last === null) return { merged, superfluous };
    // One that is there holds the same: nobody makes another object of these indices.
    const name = this.mergedName({ first, last: last.index });
    await this.#options.store.create(name, concat(parts, sizeBytes));
    return { merged, superfluous };
  }

  async removeMerged(superfluous: readonly LogIndex[]): Promise<void> {
    await this.#windows.mark(superfluous);
    await this.#removeAll(superfluous.map((index) => this.logName(index)));
  }

  /**
   * Removes what a checkpoint made superfluous: objects before the one that it is in, and checkpoints older than it. Fences stay.
   * @returns how many objects
   */
  async trim(checkpoint: LogIndex): Promise<number> {
    const { checkpoints, merged } = await this.horizon();
    const old = merged.filter(({ last }) => last < checkpoint);
    const singles = await this.singlesBefore(
      Math.min(checkpoint + 1, this.passedBefore(checkpoint)),
    );
    const names = old.map((range) => this.mergedName(range));
    for (const index of checkpoints) if (index < checkpoint) names.push(this.checkpointName(index));
    // The checkpoint may be in the last one.
    const superfluous: LogIndex[] = [];
    for (const index of singles.slice(0, -1))
      if (!(await this.#isFenceAt(index, this.logName(index)))) superfluous.push(index);
    await this.#windows.mark(superfluous);
    for (const index of superfluous) names.push(this.logName(index));
    await this.#removeAll(names);
    await this.#windows.thin(checkpoint);
    return names.length;
  }

  /** What can't be read may be one, and stays. */
  async #isFenceAt(index: LogIndex, name: string): Promise<boolean> {
    if (this.#fences.has(index)) return true;
    const bytes = await this.#read(name);
    if (bytes === null) return false;
    try {
      if (!isFence(this.#decode(name, bytes))) return false;
    } catch (error) {
      if (!isRockpoolError(error, "DATA_LOSS")) throw error;
    }
    this.#fences.add(index);
    return true;
  }

  async #removeAll(names: readonly string[]): Promise<void> {
    for (let at = 0; at < names.length; at += READ_AHEAD)
      await Promise.all(
        names.slice(at, at + READ_AHEAD).map((name) => this.#options.store.remove(name)),
      );
  }
}

export type MergeLimits = { readonly epoch: Term; readonly bytesMax: number };

/** A time in which one master appends. */
export type Reign = { readonly epoch: Term; readonly writer: Uint8Array };

/** An object that is to be made. */
export type Draft = {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** Of the log, once it is there. */
  readonly end: LogEnd & { readonly seal: number };
};

/** Whether a store's failure leaves open what became of a create. */
export function isAmbiguous(error: unknown): boolean {
  return isRockpoolError(error, "UNAVAILABLE") || !isRockpoolError(error);
}

/** Nothing is made behind an end of which the object is not known: it may be in the middle of one. */
function sealAt({ index, seal }: LogEnd): number {
  invariant(seal !== null, `the object that ends at entry ${index} is known`);
  return seal;
}

function concat(parts: readonly Uint8Array[], sizeBytes: number): Uint8Array {
  const all = new Uint8Array(sizeBytes);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
