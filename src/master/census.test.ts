import assert from "node:assert/strict";
import { test } from "node:test";
import type { BlockId } from "../common/ids.ts";
import { parsePath } from "../common/path.ts";
import { Census, NO_CENSUS } from "./census.ts";
import { FakeWorld, until } from "./master_fixture.ts";
import { INITIALIZE, Replica } from "./state_fixture.ts";

/** A namespace of some directories, with a census that somebody has to let run. */
function counted(directories: number) {
  const replica = new Replica();
  replica.run(INITIALIZE);
  for (let number = 0; number < directories; number++)
    replica.run({
      kind: "createDirectory",
      path: parsePath(`/d${number}`),
      mode: 0o755,
      isRecursive: false,
      allowExists: false,
      isPersisted: false,
      ttlMs: -1,
      ttlAction: "FREE",
      xattr: {},
    });
  const world = new FakeWorld();
  const places = new Set<BlockId>();
  const version = { text: "1" };
  const census = new Census({
    rows: replica.store,
    hasPlace: (blockId) => places.has(blockId),
    version: () => version.text,
    ...world,
  });
  return { census, world, version, replica };
}

test("a census counts all paths, over as many slices as it takes", async () => {
  const { census, world } = counted(600);
  assert.deepEqual(census.result, NO_CENSUS);
  census.start();
  for (let pass = 0; pass < 8 && census.result.atMs === null; pass++) {
    world.pass(100);
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal(census.result.pathCount, 601);
  census.stop();
});

test("fresh() counts at once when something changed, and not when nothing did", async () => {
  const { census, version, replica } = counted(3);
  assert.equal((await census.fresh(1000)).pathCount, 4);
  const before = census.result;
  assert.equal(await census.fresh(1000), before);
  version.text = "2";
  assert.notEqual(await census.fresh(1000), before);
  assert.ok(replica.store);
});

test("fresh() does not wait longer than it is told", async () => {
  const { census, world } = counted(3);
  let told = false;
  const waiting = census.fresh(50).then(() => {
    told = true;
  });
  world.pass(60);
  await until(() => told);
  await waiting;
});
