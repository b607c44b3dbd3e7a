import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { WorkerNetAddress } from "../common/file_facts.ts";
import { addressKey, readSources, type WorkerView, workerForWrite } from "./block_policy.ts";

const MB = 1024 * 1024;
const first = { uint32: () => 0 };

function address(host: string, dataPort = 29_999): WorkerNetAddress {
  return {
    host,
    containerHost: "",
    rpcPort: dataPort,
    dataPort,
    webPort: 30_000,
    domainSocketPath: "",
    tiers: [{ name: "node", value: host }],
  };
}

function worker(host: string, capacityBytes = 1024 * MB, isLive = true): WorkerView {
  return { id: 1n, address: address(host), isLive, capacityBytes, usedBytes: 0 };
}

function chosen(workers: WorkerView[], here: string[], failed: string[] = []): string | undefined {
  return workerForWrite(workers, new Set(here), {
    blockSizeBytes: 64 * MB,
    failed: new Set(failed),
    random: first,
  })?.address.host;
}

test("workerForWrite() prefers a local worker and skips those without room for a block", () => {
  assert.equal(chosen([worker("a"), worker("b")], ["b"]), "b");
  assert.equal(chosen([worker("a"), worker("b")], ["c"]), "a");
  assert.equal(chosen([worker("a"), worker("b", 32 * MB)], ["b"]), "a");
  assert.equal(chosen([worker("a"), worker("b", 1024 * MB, false)], ["b"]), "a");
  assert.equal(chosen([worker("a"), worker("b")], ["b"], ["b:29999"]), "a");
  assert.equal(chosen([worker("a", MB)], []), undefined);
  assert.equal(chosen([], ["a"]), undefined);
});

test("readSources() puts local holders first, then holders, then workers that read the under store", () => {
  const block = { id: 7n, holders: [address("a"), address("b")] };
  const workers = [worker("a"), worker("b"), worker("c"), worker("d"), worker("e", MB, false)];
  const found = readSources(block, {
    workers,
    here: new Set(["b", "d"]),
    isInUfs: true,
    random: first,
  });
  assert.deepEqual(
    found.map((source) => [source.address.host, source.isHolder, source.isLocal]),
    [
      ["b", true, true],
      ["a", true, false],
      ["d", false, true],
      ["c", false, false],
    ],
  );
});

test("readSources() names holders alone when the under store has nothing", () => {
  const block = { id: 7n, holders: [address("a")] };
  const found = readSources(block, {
    workers: [worker("a"), worker("b")],
    here: new Set<string>(),
    isInUfs: false,
    random: first,
  });
  assert.deepEqual(
    found.map((source) => source.address.host),
    ["a"],
  );
});

test("readSources() sends every client without a local worker to the same one, and blocks to many", () => {
  const workers = ["a", "b", "c", "d"].map((host) => worker(host));
  const heads = new Set<string>();
  for (let id = 0n; id < 64n; id++) {
    const ask = (list: WorkerView[]) =>
      readSources(
        { id, holders: [] },
        { workers: list, here: new Set<string>(), isInUfs: true, random: first },
      );
    const found = ask(workers).map((source) => source.address.host);
    assert.deepEqual(
      ask([...workers].reverse()).map((source) => source.address.host),
      found,
    );
    assert.equal(new Set(found).size, 4);
    heads.add(found[0] ?? "");
  }
  assert.equal(heads.size, 4);
});

test("readSources() never names a worker twice", () => {
  const hosts = fc.uniqueArray(fc.integer({ min: 0, max: 9 }).map((n) => `h${n}`));
  fc.assert(
    fc.property(
      hosts,
      hosts,
      hosts,
      fc.bigInt({ min: 0n, max: 1n << 60n }),
      fc.nat(),
      (held, live, near, id, seed) => {
        let state = seed;
        const random = { uint32: () => (state = (state * 1_103_515_245 + 12_345) >>> 0) };
        const sources = readSources(
          { id, holders: held.map((host) => address(host)) },
          { workers: live.map((host) => worker(host)), here: new Set(near), isInUfs: true, random },
        );
        const keys = sources.map((source) => addressKey(source.address));
        assert.deepEqual(
          [...keys].sort(),
          [...new Set([...held, ...live])].map((h) => `${h}:29999`).sort(),
        );
      },
    ),
  );
});
