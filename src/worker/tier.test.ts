import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { BlockId, InodeId } from "../common/ids.ts";
import { blockIdOf, fileIdOfBlock } from "../common/ids.ts";
import type { BlockEntry } from "./tier.ts";
import { TierBooks } from "./tier.ts";

const id = (container: number): BlockId => blockIdOf(BigInt(container), 0);

function filled(books: TierBooks, container: number, lengthBytes: number): BlockEntry {
  const placement = books.reserve(lengthBytes, 0);
  assert.ok(placement !== null);
  return books.commit(
    { id: id(container), directory: placement.directory, lengthBytes },
    lengthBytes,
    0,
  );
}

test("reserve() evicts the least recently used block when the quota is full", () => {
  const books = new TierBooks([100]);
  const first = filled(books, 1, 50);
  filled(books, 2, 50);
  books.use(first);
  books.leave(first);
  const placement = books.reserve(40, 0);
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
  const placement = books.reserve(50, 0);
  assert.ok(placement !== null);
  books.commit({ id: id(3), directory: 0, lengthBytes: 50 }, 50, 1000);
  books.setPinned(new Set([fileIdOfBlock(id(2))]), 0, 0);
  assert.equal(books.reserve(1, 999), null);
  assert.equal(books.usedBytes, 150);
  assert.deepEqual(
    books.reserve(1, 1000)?.victims.map((victim) => victim.id),
    [id(3)],
  );
  books.setPinned(new Set(), 1000, 1000);
  assert.deepEqual(
    books.reserve(50, 1000)?.victims.map((victim) => victim.id),
    [id(2)],
  );
});

test("setPinned() ends the protection of a block whose file it names", () => {
  const books = new TierBooks([50]);
  books.reserve(50, 0);
  books.commit({ id: id(1), directory: 0, lengthBytes: 50 }, 50, 1000);
  books.setPinned(new Set(), 1, 1);
  assert.equal(books.reserve(50, 2), null);
  books.setPinned(new Set([fileIdOfBlock(id(1))]), 3, 3);
  assert.equal(books.reserve(50, 4), null);
  books.setPinned(new Set(), 5, 5);
  assert.equal(books.reserve(50, 6)?.victims.length, 1);
});

test("setPinned() with a list asked for after the file was persisted ends the protection, an older one does not", () => {
  const books = new TierBooks([50]);
  books.reserve(50, 0);
  books.commit({ id: id(1), directory: 0, lengthBytes: 50 }, 50, 1000);
  books.notePersisted(id(1), 10);
  books.setPinned(new Set(), 11, 10);
  assert.equal(books.reserve(50, 12), null);
  books.setPinned(new Set([fileIdOfBlock(id(1))]), 13, 12);
  assert.equal(books.reserve(50, 14), null);
  books.setPinned(new Set(), 15, 14);
  assert.equal(books.reserve(50, 16)?.victims.length, 1);
});

test("reserve() takes no victim for what no directory can hold", () => {
  const books = new TierBooks([100, 60]);
  filled(books, 1, 60);
  assert.equal(books.reserve(101, 0), null);
  assert.equal(books.blockCount, 1);
});

test("closeDirectory() lets nothing new in and keeps what is there", () => {
  const books = new TierBooks([100, 60]);
  filled(books, 1, 40);
  assert.equal(books.closeDirectory(0), true);
  assert.equal(books.closeDirectory(0), false);
  assert.equal(books.capacityBytes, 100);
  assert.equal(filled(books, 2, 50).directory, 1);
  const placement = books.reserve(50, 0);
  assert.equal(placement?.directory, 1);
  assert.deepEqual(
    placement?.victims.map((victim) => victim.id),
    [id(2)],
  );
  assert.equal(books.extend(0, 1, 0), null);
  assert.equal(books.reserve(61, 0), null);
  assert.equal(books.get(id(1))?.lengthBytes, 40);
});

type Step =
  | { readonly kind: "write"; readonly container: number; readonly lengthBytes: number }
  | { readonly kind: "abort"; readonly lengthBytes: number }
  | { readonly kind: "use" | "leave" | "remove"; readonly container: number }
  | { readonly kind: "pin"; readonly containers: readonly number[] };

const container = fc.integer({ min: 1, max: 12 });
const lengthBytes = fc.integer({ min: 1, max: 60 });
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant("write" as const), container, lengthBytes }),
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
              const placement = books.reserve(action.lengthBytes, 0);
              for (const victim of placement?.victims ?? []) {
                assert.equal(victim.users, 0);
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
                listed.set(block.id, books.commit(block, action.lengthBytes, 0));
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
