import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { isRockpoolError } from "../common/errors.ts";
import type { Path } from "../common/path.ts";
import type { KeyValueStore } from "../kv/kv.ts";
import { openLmdb } from "../kv/lmdb_kv.ts";
import { MemoryKeyValueStore } from "../kv/memory_kv.ts";
import { namespaceRows, usedReplica } from "./backup_fixture.ts";
import { POSITION_KEY, positionRow, STORE_SCHEMA_VERSION } from "./inode.ts";
import { through } from "./state_fixture.ts";
import { createMasterState, type MasterState } from "./state_machine.ts";

const folder = mkdtempSync(join(tmpdir(), "rockpool-state-image-"));
after(() => rmSync(folder, { recursive: true, force: true }));
let made = 0;
const fresh = (name: string) => join(folder, `${name}-${made++}`);

const stores: Readonly<Record<string, () => KeyValueStore>> = {
  memory: () =>
    new MemoryKeyValueStore({
      write: async (path, image) => writeFileSync(path, image),
      read: async (path, lengthBytes) => new Uint8Array(readFileSync(path)).slice(0, lengthBytes),
    }),
  lmdb: () => openLmdb(fresh("store")).store,
};

function stateOn(store: KeyValueStore): MasterState {
  return createMasterState({
    store,
    options: { dedupeEntriesMax: 5, inodeCacheEntriesMax: 30 },
    onBlocksRemoved: () => {},
  });
}

/** Everything that readers ask, through whatever is cached. */
function seen({ view }: MasterState): unknown {
  const root = view.walk("/" as Path).inodes[0];
  const children = root === undefined ? [] : view.children(root.id, null, 100);
  return {
    root,
    children: children.map(({ id }) => [view.inode(id), view.children(id, null, 100)]),
    mounts: view.mounts().rows,
    state: view.state(),
    ids: view.ids(),
    persist: view.persistRows(null, 1000),
    intents: view.intents(0, 1000),
    pinned: view.pinnedFiles(null, 1000),
  };
}

for (const [name, create] of Object.entries(stores))
  test(`${name}: an image of any moment and the entries behind it give the state, caches included`, async () => {
    const { log, state: expected } = usedReplica(40);
    const cut = fc.nat(log.length);
    await fc.assert(
      fc.asyncProperty(cut, cut, cut, async (imageAt, hadBefore, goesOn) => {
        const giver = stateOn(create());
        const membership = Uint8Array.of(imageAt & 0xff, 7);
        giver.stateMachine.apply(log.slice(0, imageAt), { index: imageAt, term: 3, membership });
        const path = fresh("image");
        const writing = giver.stateMachine.writeImage(path);
        const end = Math.max(imageAt, goesOn);
        giver.stateMachine.apply(log.slice(imageAt, end), {
          index: end,
          term: 4,
          membership: null,
        });
        const position = { index: imageAt, term: 3, membership };
        assert.deepEqual(await writing, position);
        assert.deepEqual(giver.stateMachine.position(), { ...position, index: end, term: 4 });

        const taker = stateOn(create());
        taker.stateMachine.apply(log.slice(0, hadBefore), through(hadBefore, 2));
        if (hadBefore > 0) seen(taker);
        const sizeBytes = statSync(path).size;
        assert.deepEqual(await taker.stateMachine.installImage(path, sizeBytes), position);
        assert.deepEqual(taker.stateMachine.position(), position);
        taker.stateMachine.apply(log.slice(imageAt), through(log.length, 5));
        assert.deepEqual(namespaceRows(taker), namespaceRows(expected));
        assert.deepEqual(seen(taker), seen(expected));
        assert.deepEqual(taker.stateMachine.position().membership, membership);
        await giver.store.close();
        await taker.store.close();
      }),
      { numRuns: 12 },
    );
  });

for (const [name, create] of Object.entries(stores))
  test(`${name}: an image of another version is refused, and the state stays`, async () => {
    const { log } = usedReplica(5);
    const giver = stateOn(create());
    giver.stateMachine.apply(log, through(log.length));
    const taker = stateOn(create());
    taker.stateMachine.apply(log.slice(0, 3), through(3));
    const before = seen(taker);
    const row = { index: 9, term: 1, membership: null };
    for (const value of [
      positionRow.encode({ schemaVersion: STORE_SCHEMA_VERSION + 1, ...row }),
      Uint8Array.of(99, 1, 2),
    ]) {
      giver.store.transact((t) => t.put(POSITION_KEY, value));
      const path = fresh("image");
      await giver.store.writeImage(path);
      await assert.rejects(taker.stateMachine.installImage(path, statSync(path).size), (error) =>
        isRockpoolError(error, "FAILED_PRECONDITION"),
      );
    }
    assert.deepEqual(taker.stateMachine.position(), through(3));
    assert.deepEqual(seen(taker), before);
    taker.stateMachine.apply(log.slice(3), through(log.length));
    await giver.store.close();
    await taker.store.close();
  });
