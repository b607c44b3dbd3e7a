import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { isRockpoolError } from "../common/errors.ts";
import type { KeyValueReader, KeyValueStore, RangeOptions } from "./kv.ts";
import { openLmdb } from "./lmdb_kv.ts";
import { MemoryKeyValueStore } from "./memory_kv.ts";

const folder = mkdtempSync(join(tmpdir(), "rockpool-kv-"));
after(() => rmSync(folder, { recursive: true, force: true }));
let opened = 0;

const implementations: Readonly<Record<string, () => KeyValueStore>> = {
  memory: () => new MemoryKeyValueStore(),
  lmdb: () => openLmdb(join(folder, `store-${opened++}`)).store,
};
const bytes = (...values: number[]) => Uint8Array.from(values);
const rows = (reader: KeyValueReader, options: Partial<RangeOptions> = {}) =>
  [...reader.range({ start: bytes(0), end: bytes(255, 255, 255), ...options })].map(
    ({ key, value }) => `${Buffer.from(key).toString("hex")}=${Buffer.from(value).toString("hex")}`,
  );

for (const [name, create] of Object.entries(implementations)) {
  test(`${name}: a transaction reads its own writes, and a throw takes them back`, async () => {
    const store = create();
    store.transact((t) => {
      t.put(bytes(1), bytes(10));
      t.put(bytes(2), bytes(20));
      assert.deepEqual(rows(t), ["01=0a", "02=14"]);
    });
    assert.throws(
      () =>
        store.transact((t) => {
          t.put(bytes(1), bytes(11));
          t.put(bytes(3), bytes(30));
          t.remove(bytes(2));
          assert.deepEqual([...(t.get(bytes(1)) ?? [])], [11]);
          assert.equal(t.get(bytes(2)), undefined);
          assert.deepEqual(rows(t), ["01=0b", "03=1e"]);
          throw new Error("no");
        }),
      /no/,
    );
    assert.deepEqual(rows(store), ["01=0a", "02=14"]);
    await store.close();
  });

  test(`${name}: reads after a commit in the same turn see it`, async () => {
    const store = create();
    assert.equal(store.get(bytes(7)), undefined);
    store.transact((t) => t.put(bytes(7), bytes(1)));
    assert.deepEqual([...(store.get(bytes(7)) ?? [])], [1]);
    store.transact((t) => t.remove(bytes(7)));
    assert.equal(store.get(bytes(7)), undefined);
    await store.close();
  });

  test(`${name}: values are the caller's, and inputs may be reused`, async () => {
    const store = create();
    const key = bytes(1);
    const value = bytes(5);
    store.transact((t) => {
      t.put(key, value);
      key[0] = 2;
      value[0] = 6;
      t.put(key, value);
    });
    const all = [...store.range({ start: bytes(0), end: bytes(9) })];
    assert.deepEqual(
      all.map((row) => [...row.key, ...row.value]),
      [
        [1, 5],
        [2, 6],
      ],
    );
    const first = store.get(bytes(1));
    store.get(bytes(2));
    assert.deepEqual([...(first ?? [])], [5]);
    await store.close();
  });

  test(`${name}: empty values and long keys are kept`, async () => {
    const store = create();
    const long = new Uint8Array(1978).fill(7);
    store.transact((t) => t.put(long, bytes()));
    assert.equal(store.get(long)?.length, 0);
    await store.close();
  });
}

test("both stores agree with each other on random transactions and ranges", async () => {
  const key = fc.uint8Array({ minLength: 1, maxLength: 3 });
  const change = fc.record({
    key,
    value: fc.option(fc.uint8Array({ maxLength: 4 })),
  });
  const transaction = fc.record({
    changes: fc.array(change, { maxLength: 8 }),
    isAborted: fc.boolean(),
    start: key,
    end: key,
    limit: fc.option(fc.nat(5)),
    reverse: fc.boolean(),
  });
  const stores = Object.values(implementations).map((create) => create());
  fc.assert(
    fc.property(fc.array(transaction, { maxLength: 10 }), (transactions) => {
      for (const { changes, isAborted, start, end, limit, reverse } of transactions) {
        const options = { start, end, reverse, ...(limit === null ? {} : { limit }) };
        const seen = stores.map((store) => {
          let inside: string[] = [];
          try {
            store.transact((t) => {
              for (const { key: at, value } of changes)
                if (value === null) t.remove(at);
                else t.put(at, value);
              inside = rows(t, options);
              if (isAborted) throw new RangeError("abort");
            });
          } catch (error) {
            if (!(error instanceof RangeError)) throw error;
          }
          return [inside, rows(store, options), rows(store)];
        });
        assert.deepEqual(seen[1], seen[0]);
      }
    }),
    { numRuns: 60 },
  );
  for (const store of stores) await store.close();
});

test("openLmdb() keeps what was committed, and discards it after a reboot without a clean end", async () => {
  const at = join(folder, "reboot");
  const bootIdPath = join(folder, "boot_id");
  writeFileSync(bootIdPath, "one\n");
  const put = (store: KeyValueStore) => store.transact((t) => t.put(bytes(1), bytes(1)));

  const first = openLmdb(at, { bootIdPath });
  assert.equal(first.discardReason, null);
  put(first.store);
  await first.store.close();

  writeFileSync(bootIdPath, "two\n"); // a reboot after a clean end
  const second = openLmdb(at, { bootIdPath });
  assert.equal(second.discardReason, null);
  assert.equal(second.store.get(bytes(1))?.length, 1);
  await second.store.close();

  const mark = join(at, "opened.json");
  const died = (bootId: string) =>
    writeFileSync(mark, JSON.stringify({ bootId, isClean: false, schemaVersion: 0 }));
  died("two"); // the process
  const third = openLmdb(at, { bootIdPath });
  assert.equal(third.discardReason, null);
  assert.equal(third.store.get(bytes(1))?.length, 1);
  await third.store.close();

  died("one"); // the machine
  const fourth = openLmdb(at, { bootIdPath });
  assert.notEqual(fourth.discardReason, null);
  assert.equal(fourth.store.get(bytes(1)), undefined);
  await fourth.store.close();

  writeFileSync(mark, "{"); // a mark that is torn vouches for nothing
  const fifth = openLmdb(at, { bootIdPath: join(folder, "absent") });
  assert.notEqual(fifth.discardReason, null);
  await fifth.store.close();
});

test("openLmdb() discards rows of another version, or of none, and says why", async () => {
  const at = join(folder, "versions");
  const openAndPut = async (schemaVersion: number) => {
    const { store, discardReason } = openLmdb(at, { schemaVersion });
    const isEmpty = store.get(bytes(1)) === undefined;
    store.transact((t) => t.put(bytes(1), bytes(1)));
    await store.close();
    return { isEmpty, discardReason };
  };
  assert.deepEqual(await openAndPut(1), { isEmpty: true, discardReason: null });
  assert.deepEqual(await openAndPut(1), { isEmpty: false, discardReason: null });
  for (const schemaVersion of [2, 1]) {
    const { isEmpty, discardReason } = await openAndPut(schemaVersion);
    assert.equal(isEmpty, true);
    assert.match(discardReason ?? "", /rows are of version \d, and this program uses version \d/);
    // Its own build can still be given its rows back.
    assert.ok(existsSync(join(at, `store.version-${schemaVersion === 2 ? 1 : 2}.mdb`)));
  }
  const mark = join(at, "opened.json");
  const { schemaVersion, ...unversioned } = JSON.parse(readFileSync(mark, "utf8"));
  assert.equal(schemaVersion, 1);
  writeFileSync(mark, JSON.stringify(unversioned));
  const { isEmpty, discardReason } = await openAndPut(1);
  assert.equal(isEmpty, true);
  assert.match(discardReason ?? "", /does not say of which version/);
});

test("openLmdb() leaves a store alone that is open, and takes over from a process that is gone", async () => {
  const at = join(folder, "locked");
  const { store } = openLmdb(at);
  store.transact((t) => t.put(bytes(1), bytes(1)));
  assert.throws(
    () => openLmdb(at, { schemaVersion: 5 }),
    (error) =>
      isRockpoolError(error, "UNAVAILABLE") && /metadata folder .* is open in/.test(error.message),
  );
  assert.equal(store.get(bytes(1))?.length, 1);
  await store.close();
  writeFileSync(join(at, "store.lock"), `${process.pid} 1`);
  const taken: number[] = [];
  const again = openLmdb(at, { onLockTakenOver: (pid) => taken.push(pid) });
  assert.deepEqual(taken, [process.pid]);
  assert.equal(again.store.get(bytes(1))?.length, 1);
  await again.store.close();
});
