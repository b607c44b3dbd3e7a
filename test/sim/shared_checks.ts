/**
 * What must hold of the objects of a shared journal (I10), watched at the store: whatever any master does, deposed or not.
 *
 * - The log is one chain without gaps: each object is made right behind the one before it, names its epoch and its seal, and a new epoch begins with a fence, and is one more.
 * - What was at a position never changes. Once it was removed only two things may come to be there, and nobody takes either for news: the very same object (a create that was long on
 *   its way), and a fence of somebody who was away.
 * - A fence is never removed, and nothing else before all that is in it is in a merged file or behind a checkpoint.
 * - A merged file holds what was there.
 * @module
 */
import type { LogIndex } from "../../src/common/ids.ts";
import type { Crc32c } from "../../src/journal/record.ts";
import {
  decodeLogObject,
  endOf,
  follows,
  isFence,
  type LogEnd,
} from "../../src/ufs_journal/log_object.ts";

const NAME = /^[0-9a-f]{16}\/(log|merged|checkpoint|passed)\/(.+)$/;
const BEGINNING: LogEnd = { index: 0, epoch: 0, seal: null };

function isEqual(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, at) => byte === other[at]);
}

export class SharedChecks {
  /** What was first made at each position, in order. */
  readonly #history = new Map<LogIndex, { readonly bytes: Uint8Array; readonly end: LogIndex }>();
  #end: LogEnd = BEGINNING;
  readonly #merged = new Map<string, { readonly first: LogIndex; readonly last: LogIndex }>();
  readonly #checkpoints = new Set<LogIndex>();
  /** Everything before is behind some checkpoint that there was. */
  #covered: LogIndex = 0;
  readonly #crc32c: Crc32c;
  readonly #fail: (what: string) => void;
  fenceCount = 0;
  /** Fences that came to be where something had been removed. */
  buriedCount = 0;
  mergedCount = 0;
  removedCount = 0;

  constructor(crc32c: Crc32c, fail: (what: string) => void) {
    this.#crc32c = crc32c;
    this.#fail = fail;
  }

  /** Of the log. */
  get end(): LogEnd {
    return this.#end;
  }

  created(name: string, bytes: Uint8Array): void {
    const [, folder, rest = ""] = NAME.exec(name) ?? [];
    if (folder === "log") this.#appended(name, Number.parseInt(rest, 16), bytes);
    else if (folder === "checkpoint") {
      const index = Number.parseInt(rest, 16);
      if (index > this.#end.index)
        this.#fail(
          `the checkpoint ${name} is newer than the log, which ends at ${this.#end.index}`,
        );
      this.#checkpoints.add(index);
      this.#covered = Math.max(this.#covered, index);
    } else if (folder === "merged") this.#mergedMade(name, rest, bytes);
    else if (folder !== "passed") this.#fail(`nobody knows what ${name} is`);
  }

  #appended(name: string, index: LogIndex, bytes: Uint8Array): void {
    const { object } = decodeLogObject(bytes, this.#crc32c);
    if (object.firstIndex !== index) this.#fail(`${name} says that it is of ${object.firstIndex}`);
    const known = this.#history.get(index);
    if (known !== undefined) {
      if (isEqual(known.bytes, bytes)) return;
      if (isFence(object)) this.buriedCount += 1;
      else this.#fail(`${name} was made anew, and is another object than before`);
      return;
    }
    if (index <= this.#end.index) {
      this.#fail(
        `${name} is made in the middle of another object; the log ends at ${this.#end.index}`,
      );
      return;
    }
    if (!follows(object, this.#end))
      this.#fail(
        `${name} does not follow entry ${this.#end.index} of epoch ${this.#end.epoch}: it is of epoch ${object.epoch} behind ${object.previousEpoch}`,
      );
    const step = object.epoch - object.previousEpoch;
    if (step !== (isFence(object) ? 1 : 0))
      this.#fail(`${name} goes from epoch ${object.previousEpoch} to ${object.epoch}`);
    if (isFence(object)) this.fenceCount += 1;
    this.#end = endOf(object);
    this.#history.set(index, { bytes, end: this.#end.index });
  }

  #mergedMade(name: string, rest: string, bytes: Uint8Array): void {
    const [first = 0, last = 0] = rest.split("-").map((part) => Number.parseInt(part, 16));
    let next = first;
    for (let at = 0; at < bytes.length; ) {
      const { object, sizeBytes } = decodeLogObject(bytes.subarray(at), this.#crc32c);
      const known = this.#history.get(next);
      if (known === undefined || !isEqual(known.bytes, bytes.subarray(at, at + sizeBytes))) {
        this.#fail(`${name} holds another object ${next} than the log`);
        return;
      }
      next = endOf(object).index + 1;
      at += sizeBytes;
    }
    if (next !== last + 1) this.#fail(`${name} ends before ${next}`);
    this.mergedCount += 1;
    this.#merged.set(name, { first, last });
  }

  removed(name: string, bytes: Uint8Array): void {
    const [, folder, rest = ""] = NAME.exec(name) ?? [];
    const index = Number.parseInt(rest, 16);
    this.removedCount += 1;
    if (folder === "merged") this.#mergedRemoved(name);
    else if (folder === "checkpoint") {
      this.#checkpoints.delete(index);
      if (this.#checkpoints.size === 0) this.#fail(`${name}, the last checkpoint, was removed`);
    } else if (folder === "log") {
      const known = this.#history.get(index);
      if (known === undefined || !isEqual(known.bytes, bytes)) return;
      const { object } = decodeLogObject(bytes, this.#crc32c);
      if (isFence(object)) this.#fail(`the fence ${name} was removed`);
      if (known.end <= this.#covered) return;
      const isMerged = [...this.#merged.values()].some(
        ({ first, last }) => first <= index && index <= last,
      );
      if (!isMerged) this.#fail(`${name} was removed, and is nowhere else`);
    }
  }

  #mergedRemoved(name: string): void {
    const range = this.#merged.get(name);
    this.#merged.delete(name);
    if (range !== undefined && range.last > this.#covered)
      this.#fail(`${name} was removed, and no checkpoint is as new`);
  }
}
