import assert from "node:assert/strict";
import { test } from "node:test";
import { RockpoolError } from "../common/errors.ts";
import {
  ClusterDefaults,
  type MasterDefaults,
  propertiesAt,
  typedDefaults,
} from "./cluster_defaults.ts";
import type { MasterClient } from "./master_client.ts";

const WRITE_TYPE = "alluxio.user.file.writetype.default";
const READ_TYPE = "alluxio.user.file.readtype.default";

const DEFAULTS: MasterDefaults = {
  cluster: new Map([
    [WRITE_TYPE, "THROUGH"],
    [READ_TYPE, "CACHE"],
  ]),
  byPath: new Map([
    [
      "/a",
      new Map([
        [WRITE_TYPE, "MUST_CACHE"],
        [READ_TYPE, "NO_CACHE"],
      ]),
    ],
    ["/a/b", new Map([[WRITE_TYPE, "CACHE_THROUGH"]])],
  ]),
};

test("S0-43 of each property the innermost path counts, then the cluster", () => {
  const cases: readonly [string, string, string][] = [
    ["/", "THROUGH", "CACHE"],
    ["/ab", "THROUGH", "CACHE"],
    ["/a", "MUST_CACHE", "NO_CACHE"],
    ["/a/c/d", "MUST_CACHE", "NO_CACHE"],
    ["/a/b", "CACHE_THROUGH", "NO_CACHE"],
    ["/a/b/c", "CACHE_THROUGH", "NO_CACHE"],
    ["/a/bc", "MUST_CACHE", "NO_CACHE"],
  ];
  for (const [path, writeType, readType] of cases)
    assert.deepEqual(typedDefaults(propertiesAt(DEFAULTS, path)), { writeType, readType }, path);
  const root = { cluster: new Map(), byPath: new Map([["/", new Map([[WRITE_TYPE, "THROUGH"]])]]) };
  assert.equal(typedDefaults(propertiesAt(root, "/x/y")).writeType, "THROUGH");
});

test("values that cannot be read count as absent", () => {
  const typed = typedDefaults(
    new Map([
      [WRITE_TYPE, "QUICK"],
      [READ_TYPE, "no_cache"],
      ["alluxio.user.block.size.bytes.default", "0"],
      ["alluxio.security.authorization.permission.umask", "0077"],
      ["alluxio.user.file.replication.min", "many"],
      ["alluxio.user.file.replication.max", "-1"],
      ["alluxio.user.file.create.ttl", "1h"],
      ["alluxio.user.file.create.ttl.action", "burn"],
    ]),
  );
  assert.deepEqual(typed, {
    readType: "NO_CACHE",
    umask: 0o077,
    replicationMax: -1,
    ttlMs: 3_600_000,
  });
});

/** A master whose answers a test sets. */
function asked(answers: (() => Promise<MasterDefaults>)[]) {
  let count = 0;
  const client = {
    defaults: () => {
      const answer = answers[Math.min(count, answers.length - 1)];
      count += 1;
      return answer === undefined ? Promise.reject(new Error("no answer")) : answer();
    },
  };
  // Only this one method is called.
  return { master: client as unknown as MasterClient, count: () => count };
}

test("the masters are asked once, again after a failure, and never again when they do not know the question", async () => {
  const down = () => Promise.reject(new RockpoolError("UNAVAILABLE", "no leader"));
  const { master, count } = asked([down, () => Promise.resolve(DEFAULTS)]);
  const defaults = new ClusterDefaults(master);
  await assert.rejects(defaults.at("/a", null), /no leader/);
  const found = await Promise.all([defaults.at("/a", null), defaults.at("/", null)]);
  assert.deepEqual(
    found.map(({ writeType }) => writeType),
    ["MUST_CACHE", "THROUGH"],
  );
  assert.equal(count(), 2);
  const old = asked([() => Promise.reject(new RockpoolError("UNIMPLEMENTED", "what?"))]);
  assert.deepEqual(await new ClusterDefaults(old.master).at("/a", null), {});
});

test("a caller who gives up is let go, and the others get the answer", async () => {
  let answer: (defaults: MasterDefaults) => void = () => {};
  const { master } = asked([
    () =>
      new Promise((resolve) => {
        answer = resolve;
      }),
  ]);
  const defaults = new ClusterDefaults(master);
  const giving = new AbortController();
  const [given, kept] = [defaults.at("/a", giving.signal), defaults.at("/a", null)];
  giving.abort(new Error("enough"));
  await assert.rejects(given, { status: "CANCELLED" });
  await assert.rejects(defaults.at("/a", giving.signal), { status: "CANCELLED" });
  answer(DEFAULTS);
  assert.equal((await kept).writeType, "MUST_CACHE");
});
