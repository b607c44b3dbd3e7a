/**
 * Masters that share a log in memory, for tests: each reads, leads and appends on demand.
 * @module
 */
import assert from "node:assert/strict";
import { crc32c } from "../journal/journal_fixture.ts";
import { ENTRY_KINDS } from "../journal/journal_protocol.ts";
import { nodeWorld } from "../world/node_world.ts";
import { endOf, isFence, type LogEnd, WRITER_BYTES } from "./log_object.ts";
import {
  MemoryLogStore,
  SharedObjects,
  type StoreCall,
  type StoreFate,
} from "./memory_log_store.ts";
import { type Draft, type Found, type Reign, UfsLog } from "./ufs_log.ts";
import { numberName } from "./windows.ts";

export const GROUP = 7n;
export const WINDOW = 8;
export const BEGINNING: LogEnd = { index: 0, epoch: 0, seal: 0 };
export const files = { readFileSync: () => null, replaceFileSync: () => {} };

export function writerOf(name: string): Uint8Array {
  return new Uint8Array(WRITER_BYTES).fill(name.charCodeAt(0));
}

/** One master's view of a shared log; it leads from its fence on. */
export class Master {
  readonly log: UfsLog;
  readonly writer: Uint8Array;
  fate: (call: StoreCall) => StoreFate = () => ({});
  end: LogEnd = BEGINNING;
  reign: Reign | null = null;
  readonly starts: number[] = [];

  constructor(shared: SharedObjects, name: string) {
    this.writer = writerOf(name);
    const fate = (call: StoreCall) => this.fate(call);
    const store = new MemoryLogStore({ shared, world: nodeWorld(), files, fate });
    this.log = new UfsLog({ store, groupId: GROUP, crc32c, windowEntries: WINDOW });
  }

  fence(end: LogEnd = this.end): Draft {
    return this.log.composeFence(end, this.writer, 1);
  }

  async lead(): Promise<void> {
    const fence = this.fence();
    assert.equal((await this.log.append(fence)).kind, "appended");
    this.end = fence.end;
    this.reign = { epoch: fence.end.epoch, writer: this.writer };
    this.starts.push(fence.end.index);
  }

  draft(...words: string[]): Draft {
    assert.ok(this.reign !== null);
    const entries = words.map((word) => ({
      kind: ENTRY_KINDS.command,
      payload: new TextEncoder().encode(word),
    }));
    return this.log.compose(this.end, this.reign, entries, 1);
  }

  async append(...words: string[]): Promise<void> {
    const draft = this.draft(...words);
    assert.equal((await this.log.append(draft)).kind, "appended");
    this.starts.push(this.end.index + 1);
    this.end = draft.end;
  }

  /** Until nothing more is found. */
  async catchUp(): Promise<string[]> {
    const words: string[] = [];
    for (;;) {
      const found = await this.log.after(this.end, true);
      if (found.kind !== "objects") return words;
      words.push(...wordsOf(found));
      const last = found.objects.at(-1);
      if (last !== undefined) this.end = endOf(last);
    }
  }

  /** Merges all that may be merged of its reign. */
  async merge(): Promise<void> {
    const before = this.log.passedBefore(this.end.index);
    const starts = this.starts.slice(
      0,
      this.starts.findLastIndex((start) => start < before),
    );
    const limits = { epoch: this.end.epoch, bytesMax: 1e6 };
    const { superfluous } = await this.log.merge(starts, limits);
    await this.log.removeMerged(superfluous);
  }
}

export function wordsOf(found: Found): string[] {
  assert.equal(found.kind, "objects");
  const objects = found.kind === "objects" ? found.objects : [];
  return objects.flatMap((object) =>
    isFence(object)
      ? [`fence ${object.epoch}`]
      : object.entries.slice(1).map(({ payload }) => new TextDecoder().decode(payload)),
  );
}

export function masters(): {
  readonly shared: SharedObjects;
  readonly a: Master;
  readonly b: Master;
} {
  const shared = new SharedObjects();
  return { shared, a: new Master(shared, "a"), b: new Master(shared, "b") };
}

export const nameOf = (index: number) => `${numberName(Number(GROUP))}/log/${numberName(index)}`;
