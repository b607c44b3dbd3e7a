import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { BlockId, InodeId } from "../common/ids.ts";
import { blockIdOf, fileIdOfBlock } from "../common/ids.ts";
import type { BlockEntry, Placement } from "./tier.ts";
import { QUESTIONS_MAX, TierBooks } from "./tier.ts";

const id = (container: number): BlockId => blockIdOf(BigInt(container), 0);

/** Room without questions. */
function reserve(books: TierBooks, sizeBytes: number, nowMs = 0): Placement | null {
  const outcome = books.reserve(sizeBytes, nowMs, -Infinity);
  assert.notEqual(outcome?.kind, "asking");
  return outcome?.kind === "placed" ? outcome : null;
}

/** A block of a file that is in the under store. */
function filled(books: TierBooks, container: number, lengthBytes: number): BlockEntry {
  const entry = written(books, container, lengthBytes);
  books.noteExpendable(entry);
  return entry;
}

function written(books: TierBooks, container: number, lengthBytes: number): BlockEntry {
  const placement = reserve(books, lengthBytes);
  assert.ok(placement !== null);
  const { directory } = placement;
  return books.commit({ id: id(container), directory, lengthBytes }, lengthBytes, 0);
}

test("reserve() evicts the least recently used block when the quota is full", () => {
  const books = new TierBooks([100]);
  const first = filled(books, 1, 50);
  filled(books, 2, 50);
  books.use(first);
  books.leave(first);
  const placement = reserve(books, 40);
  assert.deepEqual(
    placement?.victims.map((victim) => victim.id),
    [id(2)],
  );
  assert.equal(books.get(id(2)), undefined);
  assert.equal(books.usedBytes, 90);
});

test("reserve() gives null and changes nothing when all is in use, pinned or protected", () => {
  const books = new TierBooks([150]);
  books.use(filled(books, 1, 50));
  filled(books, 2, 50);
  const placement = reserve(books, 50);
  assert.ok(placement !== null);
  books.noteExpendable(books.commit({ id: id(3), directory: 0, lengthBytes: 50 }, 50, 1000));
  books.setPinned(new Set([fileIdOfBlock(id(2))]), 0, 0);
  assert.equal(reserve(books, 1, 999), null);
  assert.equal(books.usedBytes, 150);
  assert.deepEqual(
    reserve(books, 1, 1000)?.victims.map((victim) => victim.id),
    [id(3)],
  );
  books.setPinned(new Set(), 1000, 1000);
  assert.deepEqual(
    reserve(books, 50, 1000)?.victims.map((victim) => victim.id),
    [id(2)],
  );
});

test("setPinned() ends the protection of a block whose file it names", () => {
  const books = new TierBooks([50]);
  reserve(books, 50);
  books.noteExpendable(books.commit({ id: id(1), directory: 0, lengthBytes: 50 }, 50, 1000));
  books.setPinned(new Set(), 1, 1);
  assert.equal(reserve(books, 50, 2), null);
  books.setPinned(new Set([fileIdOfBlock(id(1))]), 3, 3);
  assert.equal(reserve(books, 50, 4), null);
  books.setPinned(new Set(), 5, 5);
  assert.equal(reserve(books, 50, 6)?.victims.length, 1);
});

test("setPinned() with a list asked for after the file was persisted ends the protection, an older one does not", () => {
  const books = new TierBooks([50]);
  reserve(books, 50);
  books.noteExpendable(books.commit({ id: id(1), directory: 0, lengthBytes: 50 }, 50, 1000));
  books.notePersisted(id(1), 10);
  books.setPinned(new Set(), 11, 10);
  assert.equal(reserve(books, 50, 12), null);
  books.setPinned(new Set([fileIdOfBlock(id(1))]), 13, 12);
  assert.equal(reserve(books, 50, 14), null);
  books.setPinned(new Set(), 15, 14);
  assert.equal(reserve(books, 50, 16)?.victims.length, 1);
});

test("reserve() asks about what may be the only copy, in LRU order, and only when the answers could help", () => {
  const books = new TierBooks([100]);
  const blocks = Array.from({ length: 10 }, (_, n) => written(books, n, 10));
  const asked = (sizeBytes: number, askBeforeMs: number) => {
    const outcome = books.reserve(sizeBytes, 50, askBeforeMs);
    return outcome?.kind === "asking" ? outcome.blocks : outcome;
  };
  assert.equal(asked(10, -Infinity), null);
  assert.deepEqual(asked(10, 50), blocks);
  const [first, second, third] = blocks;
  assert.ok(first !== undefined && second !== undefined && third !== undefined);
  books.noteNeeded(first, 50);
  books.noteExpendable(second);
  assert.deepEqual(asked(20, 50), blocks.slice(2));
  books.noteExpendable(third);
  assert.deepEqual(reserve(books, 20)?.victims, [second, third]);
  for (const block of [first, ...blocks.slice(3)]) books.noteNeeded(block, 51);
  assert.equal(asked(10, 51), null);
  assert.deepEqual(books.usage(50), {
    neededBytes: 80,
    undecidedBytes: 0,
    pinnedBytes: 0,
    usedBytes: 0,
  });
  books.notePersisted(first.id, 52);
  assert.deepEqual(asked(10, 0), [first], "what was persisted since is asked about again");
});

test("reserve() asks about a bounded number of blocks at a time", () => {
  const books = new TierBooks([1000]);
  for (let n = 0; n < 1000; n++) written(books, n, 1);
  const outcome = books.reserve(500, 0, 0);
  assert.ok(outcome?.kind === "asking");
  assert.equal(outcome.blocks.length, QUESTIONS_MAX);
});

test("reserve() takes no victim for what no directory can hold", () => {
  const books = new TierBooks([100, 60]);
  filled(books, 1, 60);
  assert.equal(reserve(books, 101), null);
  assert.equal(books.blockCount, 1);
});

test("closeDirectory() lets nothing new in and keeps what is there", () => {
  const books = new TierBooks([100, 60]);
  filled(books, 1, 40);
  assert.equal(books.closeDirectory(0), true);
  assert.equal(books.closeDirectory(0), false);
  assert.equal(books.capacityBytes, 100);
  assert.equal(filled(books, 2, 50).directory, 1);
  const placement = reserve(books, 50);
  assert.equal(placement?.directory, 1);
  assert.deepEqual(
    placement?.victims.map((victim) => victim.id),
    [id(2)],
  );
  assert.equal(books.extend(0, 1, 0, 0), null);
  assert.equal(reserve(books, 61), null);
  assert.equal(books.get(id(1))?.lengthBytes, 40);
});

type Step =
  | {
      readonly kind: "write";
      readonly container: number;
      readonly lengthBytes: number;
      readonly isSafe: boolean;
    }
  | { readonly kind: "abort"; readonly lengthBytes: number }
  | { readonly kind: "use" | "leave" | "remove"; readonly container: number }
  | { readonly kind: "pin"; readonly containers: readonly number[] };

const container = fc.integer({ min: 1, max: 12 });
const lengthBytes = fc.integer({ min: 1, max: 60 });
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant("write" as const), container, lengthBytes, isSafe: fc.boolean() }),
  fc.record({ kind: fc.constant("abort" as const), lengthBytes }),
  fc.record({
    kind: fc.constantFrom("use" as const, "leave" as const, "remove" as const),
    container,
  }),
  fc.record({
    kind: fc.constant("pin" as const),
    containers: fc.array(container, { maxLength: 4 }),
  }),
);

test("the books balance, keep the quota, and never evict what is used or pinned, whatever happens", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 20, max: 100 }), { minLength: 1, maxLength: 3 }),
      fc.array(step, { maxLength: 80 }),
      (quotas, steps) => {
        const books = new TierBooks(quotas);
        const listed = new Map<BlockId, BlockEntry>();
        const ghosts = new Set<BlockEntry>();
        let pinned = new Set<InodeId>();
        for (const action of steps) {
          switch (action.kind) {
            case "write":
            case "abort": {
              if (action.kind === "write" && listed.has(id(action.container))) break;
              const placement = reserve(books, action.lengthBytes);
              for (const victim of placement?.victims ?? []) {
                assert.equal(victim.users, 0);
                assert.ok(victim.isExpendable);
                assert.ok(!pinned.has(fileIdOfBlock(victim.id)));
                assert.ok(listed.delete(victim.id));
              }
              if (placement === null) break;
              const { directory } = placement;
              assert.ok(books.freeBytes(directory) >= 0);
              if (action.kind === "abort") books.release(directory, action.lengthBytes);
              else {
                const block = {
                  id: id(action.container),
                  directory,
                  lengthBytes: action.lengthBytes,
                };
                const entry = books.commit(block, action.lengthBytes, 0);
                if (action.isSafe) books.noteExpendable(entry);
                listed.set(block.id, entry);
              }
              break;
            }
            case "use": {
              const entry = listed.get(id(action.container));
              if (entry !== undefined) books.use(entry);
              break;
            }
            case "leave": {
              const wanted = id(action.container);
              const users = [...ghosts, ...listed.values()];
              const entry = users.find((known) => known.id === wanted && known.users > 0);
              if (entry === undefined || !books.leave(entry)) break;
              books.release(entry.directory, entry.lengthBytes);
              ghosts.delete(entry);
              break;
            }
            case "remove": {
              const entry = listed.get(id(action.container));
              if (entry === undefined) break;
              books.remove(entry);
              listed.delete(entry.id);
              if (entry.users === 0) books.release(entry.directory, entry.lengthBytes);
              else ghosts.add(entry);
              break;
            }
            case "pin":
              pinned = new Set(action.containers.map((number) => fileIdOfBlock(id(number))));
              books.setPinned(pinned, 0, 0);
              break;
          }
          const sum = [...listed.values(), ...ghosts].reduce(
            (all, entry) => all + entry.lengthBytes,
            0,
          );
          assert.equal(books.usedBytes, sum);
          assert.deepEqual(new Set(books.ids()), new Set(listed.keys()));
        }
      },
    ),
  );
});
