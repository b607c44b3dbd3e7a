import assert from "node:assert/strict";
import { test } from "node:test";
import { isRockpoolError } from "../common/errors.ts";
import { Master, masters, nameOf, WINDOW } from "./log_fixture.ts";
import { placeEntry } from "./log_object.ts";
import { SharedObjects } from "./memory_log_store.ts";
import { numberName } from "./windows.ts";

test("what one appends others read, in order, with an epoch that is one more with each fence", async () => {
  const { a, b } = masters();
  await a.lead();
  await a.append("one", "two");
  await a.append("three");
  assert.deepEqual(await b.catchUp(), ["fence 1", "one", "two", "three"]);
  assert.deepEqual(b.end, a.end);
  await b.lead();
  assert.equal(b.end.epoch, 2);
  assert.deepEqual(await a.catchUp(), ["fence 2"]);
});

test("who was deposed collides with the fence, whenever it appends, and knows its own object again", async () => {
  const { a, b } = masters();
  await a.lead();
  const draft = a.draft("one");
  assert.equal((await a.log.append(draft)).kind, "appended");
  assert.equal((await a.log.append(draft)).kind, "appended", "the same object once more");
  assert.equal((await a.log.find(draft))?.kind, "appended");
  await b.catchUp();
  await b.lead();
  a.end = draft.end;
  const late = a.draft("two");
  assert.equal((await a.log.append(late)).kind, "lost");
  assert.equal((await a.log.find(late))?.kind, "lost");
  assert.equal(await a.log.isLast(a.end), false);
  assert.equal(await b.log.isLast(b.end), true);
});

test("an append of which nothing is known is found, or is not there", async () => {
  const { a } = masters();
  await a.lead();
  for (const failure of ["after", "before"] as const) {
    const draft = a.draft(failure);
    a.fate = ({ kind }) => (kind === "create" ? { failure } : {});
    await assert.rejects(a.log.append(draft), (error) => isRockpoolError(error, "UNAVAILABLE"));
    a.fate = () => ({});
    const found = await a.log.find(draft);
    assert.equal(found?.kind, failure === "after" ? "appended" : undefined);
    if (found !== null) a.end = draft.end;
  }
});

test("a state in the middle of an object goes on in the middle of it, merged or not", async () => {
  const { a, b } = masters();
  await a.lead();
  await a.append("one", "two", "three");
  for (let at = 0; at < 12; at++) await a.append(`more ${at}`);
  // Entry 2 says where it is, 3 is "one".
  const position = { index: 3, term: 1, membership: placeEntry(2).payload };
  for (const isMerged of [false, true]) {
    if (isMerged) await a.merge();
    const resumed = await b.log.resume(position);
    assert.ok(resumed.kind === "at");
    assert.equal(resumed.restIndex, 4);
    assert.deepEqual(
      resumed.rest.map(({ payload }) => new TextDecoder().decode(payload)),
      ["two", "three"],
    );
    assert.equal(resumed.end.index, 5);
  }
  const unknown = b.log.resume({ ...position, term: 2 });
  await assert.rejects(unknown, (error) => isRockpoolError(error, "UNAVAILABLE"));
});

test("merging keeps fences and marks the window; a standby that was away reads on through what was merged", async () => {
  const { shared, a, b } = masters();
  await a.lead();
  await a.append("one");
  assert.deepEqual(await b.catchUp(), ["fence 1", "one"]);
  for (let at = 0; at < 12; at++) await a.append(`more ${at}`);
  assert.equal(await a.log.isBuried(4), false);
  await a.merge();
  assert.equal(await a.log.isBuried(4), true);
  assert.ok(shared.objects.has(nameOf(1)), "the fence is there");
  assert.ok(!shared.objects.has(nameOf(4)), "what was merged is not");
  assert.deepEqual(
    await b.catchUp(),
    Array.from({ length: 12 }, (_, at) => `more ${at}`),
  );
  const c = new Master(shared, "c");
  assert.equal((await c.catchUp()).length, 14);
});

test("a fence where something was removed is buried: its maker learns it, and nobody takes it for a part of the log", async () => {
  const { a, b, shared } = masters();
  await a.lead();
  await a.append("one");
  await b.catchUp();
  const fence = b.fence();
  for (let at = 0; at < 12; at++) await a.append(`more ${at}`);
  await a.merge();
  assert.equal((await b.log.append(fence)).kind, "appended");
  assert.equal(await b.log.isBuried(fence.end.index), true);
  const c = new Master(shared, "c");
  c.end = b.end;
  assert.equal((await c.catchUp()).length, 12);
  assert.deepEqual(c.end, a.end);
});

test("while listings do not show what was merged, nobody reads on by a buried fence", async () => {
  const { a, b } = masters();
  await a.lead();
  await a.append("one");
  await b.catchUp();
  const fence = b.fence();
  for (let at = 0; at < 12; at++) await a.append(`more ${at}`);
  await a.merge();
  await b.log.append(fence);
  b.fate = ({ kind }) => (kind === "list" ? { hides: () => true } : {});
  assert.deepEqual(await b.catchUp(), []);
  b.fate = () => ({});
  assert.equal((await b.catchUp()).length, 12);
});

test("a fence that counts is read as such, also when its window has passed since", async () => {
  const { a, b, shared } = masters();
  await a.lead();
  await a.append("one");
  await b.catchUp();
  await b.lead();
  for (let at = 0; at < 12; at++) await b.append(`more ${at}`);
  const c = new Master(shared, "c");
  c.end = a.end;
  await b.merge();
  assert.equal(await b.log.isBuried(b.starts[0] ?? 0), true);
  assert.equal((await c.catchUp())[0], "fence 2");
  assert.deepEqual(c.end, b.end);
});

test("trimming leaves fences, the newest checkpoints and what is behind them; who is behind begins from a checkpoint", async () => {
  const { a, b, shared } = masters();
  await a.lead();
  for (let at = 0; at < 20; at++) await a.append(`${at}`);
  const middle = 21;
  shared.create(a.log.checkpointName(5), new Uint8Array());
  shared.create(a.log.checkpointName(middle), new Uint8Array());
  assert.ok((await a.log.trim(middle)) > 5);
  assert.ok(shared.objects.has(nameOf(1)));
  assert.ok(!shared.objects.has(nameOf(2)));
  assert.ok(shared.objects.has(nameOf(20)), "the checkpoint is in its window");
  assert.deepEqual((await a.log.horizon()).checkpoints, [middle]);
  b.end = { index: 3, epoch: 1, seal: null };
  assert.equal((await b.log.after(b.end, true)).kind, "behind");
  const position = { index: 3, term: 1, membership: placeEntry(2).payload };
  assert.equal((await b.log.resume(position)).kind, "behind");
});

test("marks of windows are put together, lower ones after the higher one is there", async () => {
  const { a, shared } = masters();
  await a.lead();
  const root = nameOf(1).slice(0, 16);
  const wide = 1024 * WINDOW;
  for (const window of [0, 1, 2])
    shared.create(`${root}/passed/0-${numberName(window)}`, new Uint8Array());
  shared.create(a.log.checkpointName(wide - 1), new Uint8Array());
  await a.log.trim(wide - 1);
  assert.ok(shared.objects.has(`${root}/passed/0-${numberName(2)}`));
  await a.log.trim(wide);
  const left = [...shared.objects.keys()].filter((name) => name.includes("/passed/"));
  assert.deepEqual(left, [`${root}/passed/1-${numberName(0)}`]);
  assert.equal(await a.log.isBuried(20), true);
  assert.equal(await a.log.isBuried(wide), false);
});

test("an object that was removed by hand, or damaged, is told of", async () => {
  const { a, b, shared } = masters();
  await a.lead();
  await a.append("one");
  await a.append("two");
  const name = nameOf(2);
  const bytes = shared.objects.get(name) ?? new Uint8Array();
  shared.objects.delete(name);
  await assert.rejects(b.catchUp(), (error) => isRockpoolError(error, "DATA_LOSS"));
  const damaged = bytes.slice();
  damaged[40] = 9;
  shared.objects.set(name, damaged);
  await assert.rejects(b.catchUp(), (error) => isRockpoolError(error, "DATA_LOSS"));
  shared.objects.set(name, bytes);
  assert.deepEqual(await b.catchUp(), ["one", "two"]);
});

test("an object of another history is not read on by", async () => {
  const { a, shared } = masters();
  await a.lead();
  const other = new Master(new SharedObjects(), "o");
  await other.lead();
  const draft = other.draft("alien");
  shared.objects.set(draft.name, draft.bytes);
  const found = a.log.after(a.end, true);
  await assert.rejects(found, (error) => isRockpoolError(error, "DATA_LOSS"));
});
