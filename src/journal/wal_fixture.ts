/**
 * What the tests of the log share: a log on a disk in memory, entries, and what is read back.
 * @module
 */
import fc from "fast-check";
import type { MemberId } from "../common/ids.ts";
import { openFallbackKernels } from "../kernels/fallback.ts";
import type { Entry, HardState, Membership } from "../raft/messages.ts";
import { nodeWorld } from "../world/node_world.ts";
import type { Timers } from "../world/ports.ts";
import type { JournalFileSystem } from "./file_system.ts";
import { openWal, type Wal } from "./wal.ts";
import type { WalFailure } from "./wal_failure.ts";
import type { WalEvent, WalOptions } from "./wal_options.ts";
import type { RecoveryOptions } from "./wal_recovery.ts";

const kernels = openFallbackKernels({ arenaBytes: 64 * 1024 });
export const crc32c = (bytes: Uint8Array, seed?: number) => kernels.crc32c(bytes, seed);
export const SEGMENT_BYTES = 64 * 1024;
export const FOLDER = "/journal";
export const SELF = 7n as MemberId; // the brand only keeps kinds of ids apart
const OTHERS = [8n, 9n] as MemberId[];
export const owner = { memberId: SELF, incarnation: 0xabcdefn, groupId: 99n };

export function voters(...ids: readonly MemberId[]): Membership {
  return { voters: ids, learners: [], addresses: new Map(ids.map((id) => [id, `host${id}:1`])) };
}

export const ALONE = voters(SELF);
export const THREE = voters(SELF, ...OTHERS);

export const recoveryOptions: Omit<RecoveryOptions, "fileSystem"> = {
  folder: FOLDER,
  owner,
  crc32c,
  membership: ALONE,
  covered: { index: 0, term: 0, membership: null },
  segmentBytes: SEGMENT_BYTES,
  cacheBytesMax: 2048,
};

/** A log that a test lets crash keeps no process alive. */
const looseTimers: Timers = {
  after(delayMs, act) {
    const timer = setTimeout(act, delayMs).unref();
    return { cancel: () => clearTimeout(timer) };
  },
  soon: (act) => setImmediate(act),
};

export type Log = {
  readonly wal: Wal;
  readonly events: WalEvent[];
  readonly failures: WalFailure[];
  readonly failed: Promise<void>;
};

export async function open(
  fileSystem: JournalFileSystem,
  overrides: Partial<WalOptions> = {},
): Promise<Log> {
  const events: WalEvent[] = [];
  const failures: WalFailure[] = [];
  let fail = () => {};
  const failed = new Promise<void>((resolve) => {
    fail = resolve;
  });
  const wal = await openWal({
    fileSystem,
    ...recoveryOptions,
    timers: looseTimers,
    clock: nodeWorld().clock,
    onEvent: (event) => events.push(event),
    onFailure: (failure) => {
      failures.push(failure);
      fail();
    },
    ...overrides,
  });
  return { wal, events, failures, failed };
}

export function entry(index: number, term = 1, payload = `entry ${index} of term ${term}`): Entry {
  return { index, term, kind: "command", payload: new TextEncoder().encode(payload) };
}

export function entriesFrom(first: number, last: number, term = 1, payload?: string): Entry[] {
  return Array.from({ length: last - first + 1 }, (_, at) => entry(first + at, term, payload));
}

export function append(
  wal: Wal,
  entries: readonly Entry[],
  hardState: HardState | null = null,
): Promise<void> {
  return new Promise((resolve) => wal.append(hardState, entries, resolve));
}

export function state(term: number, commitIndex = 0, vote: MemberId | null = SELF): HardState {
  return { term, vote, commitIndex };
}

export type Shown = { readonly index: number; readonly term: number; readonly text: string };

export function shown(entries: readonly Entry[]): Shown[] {
  return entries.map(({ index, term, payload }) => ({
    index,
    term,
    text: new TextDecoder().decode(payload),
  }));
}

/** Every entry of a log. */
export function all(wal: Wal): Shown[] {
  if (wal.lastIndex() < wal.firstIndex()) return [];
  const found: Entry[] = [];
  for (let from = wal.firstIndex(); from <= wal.lastIndex(); from = (found.at(-1)?.index ?? 0) + 1)
    found.push(...wal.entries(from, wal.lastIndex() + 1, 4096));
  return shown(found);
}

/** Fills segments, a few entries a batch; returns what it appended. */
export async function fill(wal: Wal, first: number, last: number, term = 1): Promise<Entry[]> {
  const entries = Array.from({ length: last - first + 1 }, (_, at) =>
    entry(first + at, term, `${first + at} `.repeat(1 + ((at * 370) % 1300))),
  );
  for (let at = 0; at < entries.length; at += 3)
    await append(wal, entries.slice(at, at + 3), state(term, Math.max(0, first + at - 1)));
  return entries;
}

/** What random tests let a log write. */
export type WriteStep =
  | { readonly kind: "append"; readonly count: number; readonly sizeBytes: number }
  | { readonly kind: "replace"; readonly back: number }
  | { readonly kind: "vote" };

/** For `fc.oneof`. */
export const writeSteps: readonly fc.WeightedArbitrary<WriteStep>[] = [
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("append" as const),
      count: fc.integer({ min: 1, max: 8 }),
      sizeBytes: fc.integer({ min: 0, max: 5000 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("replace" as const),
      back: fc.integer({ min: 1, max: 5 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("vote" as const) }) },
];

/** Resolves once `look` says so, which the disk in memory brings about in a few turns. */
export async function until(what: string, look: () => boolean): Promise<void> {
  const endMs = Date.now() + 60_000;
  while (!look()) {
    if (Date.now() > endMs) throw new Error(`Waited in vain until ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** A number between 0 and 2^32 after another, the same for the same seed. */
export function chance(seed: number): () => number {
  let at = seed | 1;
  return () => {
    at ^= at << 13;
    at ^= at >>> 17;
    at ^= at << 5;
    return at >>> 0;
  };
}

/** Keeps or loses each sector as a seed says. */
export function lottery(seed: number): () => boolean {
  const next = chance(Math.imul(seed + 1, 0x9e3779b1));
  for (let at = 0; at < 4; at++) next();
  return () => (next() & 0x10000) !== 0;
}
