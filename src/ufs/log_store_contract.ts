/**
 * What every log store must do, as tests: each implementation's test file runs them on its own.
 * @module
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createReadStream, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { test } from "node:test";
import type { LogStore } from "./log_store.ts";

const RACERS = 16;
const ROUNDS = 50;
const LARGE_BYTES = 20 * 1024 * 1024 + 17;

const bytesOf = (text: string) => new TextEncoder().encode(text);

async function textOf(store: LogStore, name: string): Promise<string | null> {
  const bytes = await store.read(name);
  return bytes === null ? null : new TextDecoder().decode(bytes);
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}

async function withFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "rockpool-log-store-"));
  try {
    await body(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * @param open gives a store on a folder that no other test uses, as another process would: nothing shared with earlier ones; with
 * a folder's name, the same folder once more
 */
export function testLogStore(
  name: string,
  open: (folder: string) => Promise<LogStore>,
  rounds = ROUNDS,
): void {
  let folders = 0;
  const check = (
    what: string,
    body: (store: LogStore, again: () => Promise<LogStore>) => Promise<void>,
  ): void => {
    test(`${name}: ${what}`, async () => {
      folders += 1;
      const folder = `contract-${folders}`;
      await body(await open(folder), () => open(folder));
    });
  };

  check("an object is made once, and read as it was made", async (store, again) => {
    assert.equal(await store.read("log/0000000000000001"), null);
    assert.equal(await store.create("log/0000000000000001", bytesOf("one")), "created");
    assert.equal(await store.create("log/0000000000000001", bytesOf("two")), "exists");
    const other = await again();
    assert.equal(await other.create("log/0000000000000001", bytesOf("three")), "exists");
    for (const each of [store, other])
      assert.equal(await textOf(each, "log/0000000000000001"), "one");
  });

  check("an empty object is an object", async (store) => {
    assert.equal(await store.create("empty", new Uint8Array()), "created");
    assert.equal((await store.read("empty"))?.length, 0);
    assert.equal(await store.create("empty", bytesOf("x")), "exists");
  });

  check(`of ${RACERS} who create a name one succeeds, ${rounds} times`, async (store, again) => {
    const stores = [store, await again(), await again(), await again()];
    for (let round = 0; round < rounds; round++) {
      const object = `race/${round}`;
      const outcomes = await Promise.all(
        Array.from({ length: RACERS }, (_, racer) => {
          const own = stores[racer % stores.length] ?? store;
          return own.create(object, bytesOf(`${round}-${racer}`));
        }),
      );
      const winners = outcomes.flatMap((outcome, racer) => (outcome === "created" ? [racer] : []));
      assert.equal(winners.length, 1, `round ${round}: ${outcomes.join(" ")}`);
      assert.equal(await textOf(store, object), `${round}-${winners[0]}`);
    }
  });

  check("list gives names in byte order, behind one if asked", async (store) => {
    const names = ["10", "1", "2", "a", "A", "a-b", "a.b", "a_b", "0000000000000002"];
    assert.deepEqual(await store.list("log"), []);
    for (const each of names) await store.create(`log/${each}`, bytesOf(each));
    await store.create("other/x", bytesOf("x"));
    await store.create("logs", bytesOf("x"));
    const sorted = ["0000000000000002", "1", "10", "2", "A", "a", "a-b", "a.b", "a_b"];
    assert.deepEqual(await store.list("log"), sorted);
    assert.deepEqual(await store.list("log", "10"), sorted.slice(3));
    assert.deepEqual(await store.list("log", "3"), sorted.slice(4), "a name that is not there");
    assert.deepEqual(await store.list("log", "zzz"), []);
  });

  check("what is made is listed at once, by others too", async (store, again) => {
    const other = await again();
    for (let i = 0; i < 20; i++) {
      const each = String(i).padStart(16, "0");
      await store.create(`log/${each}`, bytesOf(each));
      assert.equal((await other.list("log")).at(-1), each);
    }
    assert.equal((await other.list("log", "0000000000000009")).length, 10);
  });

  check("what is removed is gone, and its name is free", async (store) => {
    await store.remove("log/none");
    await store.create("log/x", bytesOf("one"));
    await store.remove("log/x");
    assert.equal(await store.read("log/x"), null);
    assert.deepEqual(await store.list("log"), []);
    assert.equal(await store.create("log/x", bytesOf("two")), "created");
    assert.equal(await textOf(store, "log/x"), "two");
  });

  check("files go in and come out, small and large, once", (store) =>
    withFolder(async (folder) => {
      for (const [object, lengthBytes] of [
        ["checkpoint/empty", 0],
        ["checkpoint/small", 1000],
        ["checkpoint/large", LARGE_BYTES],
      ] as const) {
        const from = join(folder, "from");
        const to = join(folder, `to-${lengthBytes}`);
        writeFileSync(from, Buffer.alloc(lengthBytes, `${object} of many bytes `));
        assert.equal(await store.readToFile(object, to), false);
        assert.equal(existsSync(to), false, "nothing is left of what is not there");
        assert.equal(await store.createFromFile(object, from), "created");
        assert.equal(await store.readToFile(object, to), true);
        assert.equal(await digestOf(to), await digestOf(from));
        writeFileSync(from, Buffer.alloc(lengthBytes, "another"));
        assert.equal(await store.createFromFile(object, from), "exists");
        assert.equal((await store.read(object))?.length, lengthBytes);
      }
      await assert.rejects(store.readToFile("checkpoint/small", join(folder, "from")));
      assert.deepEqual(await store.list("checkpoint"), ["empty", "large", "small"]);
    }),
  );

  check("of two who create a name of large files one succeeds", (store, again) =>
    withFolder(async (folder) => {
      const stores = [store, await again()];
      const outcomes = await Promise.all(
        stores.map((each, at) => {
          const from = join(folder, `from-${at}`);
          writeFileSync(from, Buffer.alloc(9 * 1024 * 1024, `${at}`));
          return each.createFromFile("checkpoint/1", from);
        }),
      );
      assert.deepEqual(outcomes.toSorted(), ["created", "exists"]);
      const winner = outcomes.indexOf("created");
      const bytes = Buffer.from((await store.read("checkpoint/1")) ?? []);
      assert.equal(bytes.compare(Buffer.alloc(9 * 1024 * 1024, `${winner}`)), 0);
    }),
  );

  check("the probe finds nothing wrong, and leaves nothing", async (store) => {
    await store.create("log/1", bytesOf("one"));
    await store.probe();
    assert.deepEqual(await store.list("log"), ["1"]);
  });
}
