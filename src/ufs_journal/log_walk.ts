/**
 * Walks through all objects of a log on a shared store, for tools: each once, in order, with what is wrong with it. Changes nothing, and goes
 * on behind what is damaged, where a master would stop.
 *
 * A leader may append, merge and trim meanwhile: what vanished is looked for anew, as merged or behind a newer checkpoint, before it is
 * called missing; where the walk ends is the end of the log at some moment just past.
 * @module
 */
import { DecodeError } from "../common/bytes.ts";
import type { LogIndex } from "../common/ids.ts";
import type { Crc32c } from "../journal/record.ts";
import type { LogStore } from "../ufs/log_store.ts";
import type { SharedIdentity } from "./identity.ts";
import {
  decodeLogObject,
  endOf,
  follows,
  isFence,
  type LogEnd,
  type LogObject,
} from "./log_object.ts";
import { UfsLog } from "./ufs_log.ts";

/** Objects that are read at the same time. */
const READ_AHEAD = 16;
/** Listings in a row that bring nobody further. */
const LOOKS_MAX = 5;

/**
 * damaged: acknowledged entries that masters need are unreadable.
 * spare: nothing needs it now, or a proof is gone that only a master needs that was away.
 */
export type LogProblem = {
  readonly severity: "damaged" | "spare";
  /** What happened, where, and to which entries. */
  readonly text: string;
  readonly remedy: string;
};

export type WalkStep =
  /** The next one of the log. */
  | { readonly kind: "object"; readonly object: LogObject; readonly name: string }
  /** Removed by a leader: a checkpoint holds them. */
  | { readonly kind: "trimmed"; readonly firstIndex: LogIndex; readonly lastIndex: LogIndex }
  /** No part of the log, and harmless: a copy of what is merged, or a fence that came too late. */
  | { readonly kind: "aside"; readonly name: string; readonly why: "copy" | "buried" }
  | { readonly kind: "problem"; readonly problem: LogProblem };

export type WalkOptions = {
  readonly store: LogStore;
  readonly identity: Pick<SharedIdentity, "groupId" | "windowEntries">;
  readonly crc32c: Crc32c;
  /** Objects that end before this entry are left out. */
  readonly from?: LogIndex;
  /** Whether a checkpoint is of use; all are when left out. */
  readonly isUsable?: (checkpoint: LogIndex) => Promise<boolean>;
};

/** A named thing of the store that holds objects. */
type Piece = {
  readonly first: LogIndex;
  /** Null for a single object, which says it itself. */
  readonly last: LogIndex | null;
  readonly name: string;
};
type Parsed = {
  readonly objects: readonly LogObject[];
  /** Null when all of it is sound. */
  readonly why: string | null;
};
/** What cannot be read, from an entry on. */
type Hurt = { readonly first: LogIndex; readonly name: string; readonly why: string };

const REMEDY =
  "Bring the object back from a copy, or from an older version in the store. If there is none, format the journal anew and start from the " +
  "newest backup; `bin/rockpool journal repair --accept-loss-after <n>` says what else can be done";
const SPARE_REMEDY =
  "Nothing is lost: masters begin from a checkpoint behind it. Find out who changed the store";
const FENCE_REMEDY =
  "Nothing is lost. Restart every master that has run since before that epoch, and bring the object back from a copy if there is one: " +
  "it keeps a master that was away from appending";

export class LogWalk {
  readonly #options: WalkOptions;
  readonly #log: UfsLog;
  /** Null before the first object. */
  #end: LogEnd | null;
  #writer: Uint8Array | null = null;
  #epoch = 0;
  /** Newer than these there may be more. */
  #checkpoints: readonly LogIndex[] = [];
  #hurts: Hurt[] = [];
  /** Seals of merged objects, as long as single ones of the same place may follow. */
  readonly #merged = new Map<LogIndex, number>();
  /** Fences that were met merged alone: where, and of which epoch. */
  readonly #owed = new Map<LogIndex, number>();
  #looks = 0;
  #hasVanished = false;
  #readBytes = 0;

  constructor(options: WalkOptions) {
    this.#options = options;
    const { store, identity, crc32c, from = 1 } = options;
    this.#log = new UfsLog({ store, crc32c, ...identity });
    this.#end = from <= 1 ? { index: 0, epoch: 0, seal: 0 } : null;
  }

  /** Of all objects that were read. */
  get readBytes(): number {
    return this.#readBytes;
  }

  /** What masters can begin from, as it was seen last; in rising order. */
  get checkpoints(): readonly LogIndex[] {
    return this.#checkpoints;
  }

  /** @throws RockpoolError what the store says */
  async *steps(): AsyncGenerator<WalkStep> {
    while (yield* this.#pass()) this.#looks++;
    yield* this.#finish();
  }

  #mayLookAgain(): boolean {
    return this.#looks < LOOKS_MAX;
  }

  /** @returns whether to look again */
  async *#pass(): AsyncGenerator<WalkStep, boolean> {
    this.#hasVanished = false;
    this.#hurts = []; // what lies behind the end is read again
    const pieces = await this.#look();
    for (let at = 0; at < pieces.length; at += READ_AHEAD) {
      const some = pieces.slice(at, at + READ_AHEAD);
      const read = await Promise.all(some.map(({ name }) => this.#options.store.read(name)));
      for (const [offset, piece] of some.entries()) {
        const bytes = read[offset] ?? null;
        if (bytes === null) this.#hasVanished = true;
        else if (yield* this.#piece(piece, bytes)) return true;
      }
    }
    return this.#hasVanished && this.#mayLookAgain();
  }

  /** What is there behind the end of the walk, in order. */
  async #look(): Promise<readonly Piece[]> {
    const { isUsable = () => Promise.resolve(true) } = this.#options;
    // In this order: what is merged between the two is seen twice, and not missed.
    const singles = await this.#log.singlesBefore(Number.POSITIVE_INFINITY);
    const { merged, checkpoints } = await this.#log.horizon();
    const usable: LogIndex[] = [];
    for (const index of checkpoints) if (await isUsable(index)) usable.push(index);
    this.#checkpoints = usable;
    const pieces: Piece[] = [
      ...merged.map((range) => ({ ...range, name: this.#log.mergedName(range) })),
      ...singles.map((first) => ({ first, last: null, name: this.#log.logName(first) })),
    ].filter(({ first }) => Number.isSafeInteger(first) && first > 0);
    pieces.sort((a, b) => a.first - b.first || Number(a.last === null) - Number(b.last === null));
    if (this.#end === null) return pieces.slice(this.#beginning(pieces));
    const { index } = this.#end;
    return index === 0 ? pieces : pieces.filter(({ first, last }) => (last ?? first) > index);
  }

  /** Where the piece is that holds the first wanted entry. */
  #beginning(pieces: readonly Piece[]): number {
    const { from = 1 } = this.#options;
    const range = pieces.findIndex(
      ({ first, last }) => last !== null && first <= from && from <= last,
    );
    return Math.max(0, range === -1 ? pieces.findLastIndex(({ first }) => first <= from) : range);
  }

  /** @returns whether to look again */
  async *#piece(piece: Piece, bytes: Uint8Array): AsyncGenerator<WalkStep, boolean> {
    for (const first of this.#merged.keys()) {
      if (first >= piece.first) break;
      this.#merged.delete(first);
    }
    this.#readBytes += bytes.length;
    const { objects, why } = this.#parse(piece, bytes);
    const [head] = objects;
    if (head === undefined) {
      this.#hurts.push({ first: piece.first, name: piece.name, why: why ?? "It is empty" });
      return false;
    }
    const next =
      this.#end === null ? (this.#hurts[0]?.first ?? head.firstIndex) : this.#end.index + 1;
    const isGap = head.firstIndex > next;
    const isCovered = this.#checkpoints.some((index) => index >= head.firstIndex);
    const isStale = isGap && !isCovered && this.#hurts.length === 0;
    const isDoubtful = this.#hasVanished && (isGap || this.#end === null);
    if ((isStale || isDoubtful) && this.#mayLookAgain()) return true;
    if (isGap) yield* this.#gap(next, head);
    for (const object of objects) yield* this.#object(object, piece);
    if (why !== null) {
      const { index } = endOf(objects.at(-1) ?? head);
      this.#hurts.push({ first: index + 1, name: piece.name, why });
    }
    return false;
  }

  #parse({ first, last, name }: Piece, bytes: Uint8Array): Parsed {
    const { identity, crc32c } = this.#options;
    const objects: LogObject[] = [];
    try {
      for (let at = 0; at < bytes.length; ) {
        const { object, sizeBytes } = decodeLogObject(bytes.subarray(at), crc32c);
        if (object.groupId !== identity.groupId) throw new DecodeError("It is of another journal");
        const wanted = objects.length === 0 ? first : endOf(objects.at(-1) ?? object).index + 1;
        if (object.firstIndex !== wanted)
          throw new DecodeError(`It holds entry ${object.firstIndex} in the place of ${wanted}`);
        objects.push(object);
        at += sizeBytes;
        if (last === null && at < bytes.length) throw new DecodeError("Something follows it");
      }
      const end = objects.at(-1);
      if (last !== null && end !== undefined && endOf(end).index !== last)
        throw new DecodeError(`It ends with entry ${endOf(end).index}, and not as ${name} says`);
      return { objects, why: null };
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      // Nothing of a single object counts that is not as it was made.
      return { objects: last === null ? [] : objects, why: error.message };
    }
  }

  async *#object(object: LogObject, { name, last }: Piece): AsyncGenerator<WalkStep> {
    const { firstIndex } = object;
    const isSingle = last === null;
    const end = this.#end ?? beforeIt(object);
    if (firstIndex <= end.index) {
      const isOther = (this.#merged.get(firstIndex) ?? object.seal) !== object.seal;
      if (isSingle || isOther) yield await this.#aside(object, name);
      return;
    }
    if (!follows(object, end)) {
      if (isFence(object) && (await this.#log.isBuried(firstIndex))) {
        yield { kind: "aside", name, why: "buried" };
        return;
      }
      yield this.#problem(
        endOf(object).index,
        `${this.#uri(name)} does not follow entry ${end.index} of epoch ${end.epoch}: it was made behind another object, of epoch ${object.previousEpoch}`,
      );
      this.#writer = null;
    }
    yield* this.#standing(object, name);
    this.#end = endOf(object);
    this.#looks = 0;
    if (!isSingle) {
      this.#merged.set(firstIndex, object.seal);
      if (isFence(object)) this.#owed.set(firstIndex, object.epoch);
    }
    yield { kind: "object", object, name };
    yield* this.#copies();
  }

  /** Whether it may be of its epoch. */
  *#standing(object: LogObject, name: string): Generator<WalkStep> {
    const { epoch, previousEpoch, writer } = object;
    const isFirst = isFence(object);
    if (epoch !== previousEpoch + Number(isFirst))
      yield this.#problem(
        endOf(object).index,
        `${this.#uri(name)} is of epoch ${epoch} behind epoch ${previousEpoch}, and ${isFirst ? "a" : "no"} fence`,
      );
    const isForeign = this.#writer?.some((byte, at) => byte !== writer[at]);
    if (!isFirst && isForeign)
      yield this.#problem(
        endOf(object).index,
        `${this.#uri(name)} is of another master than the fence of its epoch ${epoch}`,
      );
    this.#writer = writer;
    const { from = 1 } = this.#options;
    const lost = isFirst ? epoch - 1 : epoch;
    if (from <= 1 && lost > this.#epoch)
      yield this.#fenceLost(
        lost === this.#epoch + 1
          ? `The fence of epoch ${lost} is missing`
          : `The fences of epochs ${this.#epoch + 1} to ${lost} are missing`,
      );
    this.#epoch = Math.max(this.#epoch, epoch);
  }

  /** A single object at a place that the log has passed. */
  async #aside(object: LogObject, name: string): Promise<WalkStep> {
    const { firstIndex, seal } = object;
    const merged = this.#merged.get(firstIndex);
    if (merged === seal) {
      this.#owed.delete(firstIndex);
      return { kind: "aside", name, why: "copy" };
    }
    if (isFence(object) && (await this.#log.isBuried(firstIndex)))
      return { kind: "aside", name, why: "buried" };
    return this.#problem(
      endOf(object).index,
      `${this.#uri(name)} contradicts the log, which has something else at entry ${firstIndex}`,
    );
  }

  /** Damaged ones whose entries were found elsewhere. */
  *#copies(): Generator<WalkStep> {
    const index = this.#end?.index ?? 0;
    for (const { name, why } of this.#hurts.filter(({ first }) => first <= index))
      yield spare(
        `${this.#uri(name)} is damaged: ${why}; its entries lie elsewhere, too`,
        "Nothing is lost. Bring it back from a copy if there is one: fences are needed by masters that were away",
      );
    this.#hurts = this.#hurts.filter(({ first }) => first > index);
  }

  /** Nothing readable is there from an entry up to an object, from which the walk goes on. */
  async *#gap(from: LogIndex, head: LogObject): AsyncGenerator<WalkStep> {
    const to = head.firstIndex - 1;
    const hurts = this.#hurts;
    this.#hurts = [];
    // A fence may have been in it.
    if (hurts.length > 0) this.#epoch = Math.max(this.#epoch, head.epoch - Number(isFence(head)));
    this.#end = beforeIt(head);
    this.#writer = null;
    const isLost = !this.#checkpoints.some((index) => index >= head.firstIndex);
    for (const { first, name, why } of hurts)
      yield problemOf(
        isLost,
        `${this.#uri(name)} is damaged: ${why}; entries ${first} to ${to} are unreadable`,
      );
    const missingTo = (hurts[0]?.first ?? head.firstIndex) - 1;
    if (missingTo < from) return;
    const missing = `Entries ${from} to ${missingTo} of the journal are missing in ${this.#uri("")}`;
    if (isLost) {
      const inside = this.#checkpoints.findLast((index) => index >= from);
      const tail =
        inside === undefined ? "" : `, and with them what the checkpoint of entry ${inside} needs`;
      yield problemOf(true, `${missing}${tail}`);
      return;
    }
    if (!(await this.#log.isBuried(from)))
      yield spare(
        `${missing}, and no master has removed them: their window bears no mark`,
        SPARE_REMEDY,
      );
    else yield { kind: "trimmed", firstIndex: from, lastIndex: missingTo };
  }

  /** What the end of the log says. */
  async *#finish(): AsyncGenerator<WalkStep> {
    const index = this.#end?.index ?? 0;
    for (const { first, name, why } of this.#hurts)
      yield problemOf(
        true,
        `${this.#uri(name)} is damaged: ${why}; entry ${first} and what comes after it are unreadable`,
      );
    const newest = this.#checkpoints.at(-1) ?? 0;
    if (newest > index && this.#hurts.length === 0)
      yield problemOf(
        true,
        `The log in ${this.#uri("")} ends with entry ${index}, and the checkpoint of entry ${newest} needs the object that this one is in`,
      );
    for (const [first, epoch] of this.#owed)
      if ((await this.#options.store.read(this.#log.logName(first))) === null)
        yield this.#fenceLost(
          `The fence of epoch ${epoch}, ${this.#uri(this.#log.logName(first))}, is missing`,
        );
  }

  #fenceLost(text: string): WalkStep {
    return spare(`${text}: fences are never removed`, FENCE_REMEDY);
  }

  /** @param lastIndex whoever begins from a checkpoint behind it does not need it */
  #problem(lastIndex: LogIndex, text: string): WalkStep {
    return problemOf(!this.#checkpoints.some((index) => index > lastIndex), text);
  }

  #uri(name: string): string {
    const { uri } = this.#options.store;
    return name === "" ? uri : `${uri}/${name}`;
  }
}

/** The end of the log before an object, as the object says it. */
function beforeIt({ firstIndex, previousEpoch, previousSeal }: LogObject): LogEnd {
  return { index: firstIndex - 1, epoch: previousEpoch, seal: previousSeal };
}

function spare(text: string, remedy: string): WalkStep {
  return { kind: "problem", problem: { severity: "spare", text, remedy } };
}

function problemOf(isLost: boolean, text: string): WalkStep {
  if (!isLost) return spare(text, SPARE_REMEDY);
  return { kind: "problem", problem: { severity: "damaged", text, remedy: REMEDY } };
}
