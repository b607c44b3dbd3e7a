import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { sealCheckpoint } from "../journal/checkpoint_file.ts";
import { nodeFileSystem } from "../journal/file_system.ts";
import { crc32c } from "../journal/journal_fixture.ts";
import { ENTRY_KINDS } from "../journal/journal_protocol.ts";
import { LocalLogStore } from "../ufs/local_log_store.ts";
import type { LogStore } from "../ufs/log_store.ts";
import { nodeWorld } from "../world/node_world.ts";
import { cutBehind } from "./log_cut.ts";
import { files, GROUP, Master, masters, nameOf, WINDOW } from "./log_fixture.ts";
import { LogWalk, type WalkStep } from "./log_walk.ts";
import { MemoryLogStore, type SharedObjects } from "./memory_log_store.ts";
import { type LogReport, verifyLog } from "./verify_log.ts";
import { numberName } from "./windows.ts";

const identity = { groupId: GROUP, windowEntries: WINDOW, formattedMs: 0 };

function storeOf(shared: SharedObjects): LogStore {
  return new MemoryLogStore({ shared, world: nodeWorld(), files });
}

function verify(shared: SharedObjects): Promise<LogReport> {
  return verifyLog({ store: storeOf(shared), identity, crc32c, scratch: null });
}

/** "damaged: …" and "spare: …". */
function problemsOf({ problems }: LogReport): readonly string[] {
  return problems.map(({ severity, text }) => `${severity}: ${text}`);
}

function one(texts: readonly string[]): string {
  assert.equal(texts.length, 1, texts.join("\n"));
  return texts[0] ?? "";
}

async function walked(store: LogStore, from = 1): Promise<readonly WalkStep[]> {
  const steps: WalkStep[] = [];
  for await (const step of new LogWalk({ store, identity, crc32c, from }).steps()) steps.push(step);
  return steps;
}

function flip(shared: SharedObjects, name: string, at: number): void {
  const bytes = shared.objects.get(name)?.slice();
  assert.ok(bytes !== undefined, name);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  shared.objects.set(name, bytes);
}

/** A log of 20 commands, of two reigns: fences at 1 and 22. */
async function twoReigns() {
  const scene = masters();
  const { a, b } = scene;
  await a.lead();
  for (let at = 0; at < 10; at++) await a.append(`a${at}`);
  await b.catchUp();
  await b.lead();
  for (let at = 0; at < 10; at++) await b.append(`b${at}`);
  return scene;
}

test("a sound log is sound: single, merged, trimmed, with late fences", async () => {
  const { a, b, shared } = masters();
  assert.deepEqual((await verify(shared)).problems, []);
  await a.lead();
  await b.catchUp();
  const late = b.fence();
  for (let at = 0; at < 20; at++) await a.append(`${at}`);
  const single = await verify(shared);
  assert.deepEqual(single.problems, []);
  assert.deepEqual(
    [single.objectCount, single.fenceCount, single.firstIndex, single.lastIndex],
    [21, 1, 1, 41],
  );
  await a.merge();
  const merged = await verify(shared);
  assert.deepEqual(merged.problems, []);
  assert.deepEqual([merged.objectCount, merged.asideCount, merged.lastIndex], [21, 1, 41]);
  await b.log.append(late);
  const buried = await verify(shared);
  assert.deepEqual(buried.problems, []);
  assert.deepEqual([buried.objectCount, buried.asideCount], [21, 2]);
  shared.create(a.log.checkpointName(30), new Uint8Array());
  shared.create(a.log.checkpointName(40), new Uint8Array());
  await a.append("more");
  await a.log.trim(40);
  const trimmed = await verify(shared);
  assert.deepEqual(trimmed.problems, []);
  assert.equal(trimmed.lastIndex, 43);
  assert.equal(trimmed.newestCheckpoint, 40);
});

test("a missing object is told of by the entries that it held; one that no checkpoint makes up for is damage", async () => {
  const { a, shared } = await twoReigns();
  shared.objects.delete(nameOf(4));
  assert.match(
    one(problemsOf(await verify(shared))),
    /^damaged: Entries 4 to 5 of the journal are missing in memory:/,
  );
  shared.create(a.log.checkpointName(5), new Uint8Array());
  assert.match(
    one(problemsOf(await verify(shared))),
    /^damaged: Entries 4 to 5 .* and with them what the checkpoint of entry 5 needs/,
  );
  shared.create(a.log.checkpointName(12), new Uint8Array());
  assert.match(one(problemsOf(await verify(shared))), /^spare: Entries 4 to 5 .*no mark/);
});

test("a damaged object is told of by name and entries, wherever the bit is", async () => {
  const { shared } = await twoReigns();
  const sizeBytes = shared.objects.get(nameOf(4))?.length ?? 0;
  for (const at of [0, 9, 20, 30, 45, 60, 70, 77, 80, 85, 90, sizeBytes - 1]) {
    flip(shared, nameOf(4), at);
    const report = await verify(shared);
    assert.match(
      one(problemsOf(report)),
      /^damaged: memory:.*\/log\/0000000000000004 is damaged: .* entries 4 to 5 are unreadable$/,
      `byte ${at}`,
    );
    assert.deepEqual([report.firstIndex, report.lastIndex], [6, 42]);
    flip(shared, nameOf(4), at);
  }
  flip(shared, nameOf(41), 90);
  assert.match(
    one(problemsOf(await verify(shared))),
    /entry 41 and what comes after it are unreadable/,
  );
  flip(shared, nameOf(41), 90);
  assert.deepEqual((await verify(shared)).problems, []);
});

test("an object of another journal, of another history, or under another name is told of", async () => {
  const { shared } = await twoReigns();
  const real = shared.objects.get(nameOf(6)) ?? new Uint8Array();
  shared.objects.set(nameOf(6), shared.objects.get(nameOf(8)) ?? real);
  assert.match(one(problemsOf(await verify(shared))), /entry 8 in the place of 6/);
  const other = await twoReigns();
  shared.objects.set(nameOf(6), real);
  const { a } = masters();
  await a.lead();
  await a.append("x");
  await a.append("y");
  const alien = a.draft("z");
  assert.equal(alien.name, nameOf(6));
  shared.objects.set(nameOf(6), alien.bytes);
  const said = problemsOf(await verify(shared));
  assert.equal(said.length, 2, "neither it nor the next one fits");
  assert.match(said[0] ?? "", /^damaged: .*0006 does not follow entry 5 of epoch 1/);
  assert.match(said[1] ?? "", /^damaged: .*0008 does not follow entry 7 of epoch 1/);
  const wrong = { ...identity, groupId: 8n };
  for (const [name, bytes] of other.shared.objects)
    other.shared.objects.set(name.replace(/^[0-9a-f]+/, numberName(8)), bytes);
  const report = await verifyLog({
    store: storeOf(other.shared),
    identity: wrong,
    crc32c,
    scratch: null,
  });
  assert.ok(problemsOf(report).every((text) => /It is of another journal/.test(text)));
  assert.equal(report.problems.length, 22);
});

test("what is no part of the journal is told of, and is no damage", async () => {
  const { shared } = await twoReigns();
  const root = nameOf(1).slice(0, 16);
  for (const name of ["log/notes.txt", "merged/5", "checkpoint/x", "passed/3-0000000000000000"])
    shared.create(`${root}/${name}`, new Uint8Array(3));
  const said = problemsOf(await verify(shared));
  assert.equal(said.length, 4);
  assert.ok(said.every((text) => /^spare: .* is no part of the journal$/.test(text)));
});

test("a fence that was removed by hand is missed, single or merged, and behind what was trimmed", async () => {
  const { a, b, shared } = await twoReigns();
  const fence = shared.objects.get(nameOf(22)) ?? new Uint8Array();
  await b.merge();
  shared.objects.delete(nameOf(22));
  assert.match(
    one(problemsOf(await verify(shared))),
    /^spare: The fence of epoch 2, .*0016, is missing/,
  );
  shared.objects.set(nameOf(22), fence);
  assert.deepEqual((await verify(shared)).problems, []);
  shared.create(a.log.checkpointName(41), new Uint8Array());
  await b.log.trim(41);
  assert.deepEqual((await verify(shared)).problems, []);
  shared.objects.delete(nameOf(22));
  assert.match(one(problemsOf(await verify(shared))), /^spare: The fence of epoch 2 is missing/);
});

test("damage in a merged object is told of by the entries that only it holds", async () => {
  const { a, shared } = masters();
  await a.lead();
  for (let at = 0; at < 20; at++) await a.append(`${at}`);
  const singles = new Map(shared.objects);
  await a.merge();
  const [name] = [...shared.objects.keys()].filter((each) => each.includes("/merged/"));
  assert.ok(name !== undefined);
  const sizeBytes = shared.objects.get(name)?.length ?? 0;
  flip(shared, name, sizeBytes - 1);
  const last = Number.parseInt(name.slice(-16), 16);
  const text = one(problemsOf(await verify(shared)));
  assert.ok(text.includes(`entries ${last - 1} to ${last} are unreadable`), text);
  const hit = singles.get(nameOf(last - 1)) ?? new Uint8Array();
  shared.create(nameOf(last - 1), hit);
  assert.match(one(problemsOf(await verify(shared))), /^spare: .* its entries lie elsewhere, too/);
});

test("a checkpoint behind the end of the log is damage; what it makes superfluous is none", async () => {
  const { a, shared } = await twoReigns();
  flip(shared, nameOf(4), 90);
  shared.create(a.log.checkpointName(30), new Uint8Array());
  assert.match(one(problemsOf(await verify(shared))), /^spare: .*0004 is damaged/);
  shared.create(a.log.checkpointName(60), new Uint8Array());
  const said = problemsOf(await verify(shared));
  assert.match(
    said.at(-1) ?? "",
    /^damaged: The log in .* ends with entry 42, and the checkpoint of entry 60/,
  );
});

/** Before its n-th call something happens. */
function interruptedStore(
  shared: SharedObjects,
  before: (call: number) => Promise<void>,
): LogStore {
  const store = storeOf(shared);
  let calls = 0;
  const act = () => before(++calls);
  return {
    uri: store.uri,
    read: (name) => act().then(() => store.read(name)),
    list: (folder, after) => act().then(() => store.list(folder, after)),
    create: (name, bytes) => store.create(name, bytes),
    createFromFile: (name, path) => store.createFromFile(name, path),
    readToFile: (name, path) => store.readToFile(name, path),
    remove: (name) => store.remove(name),
    probe: () => store.probe(),
  };
}

test("while the leader appends, merges and trims, nothing is called missing, and all that is needed is read", async () => {
  for (let at = 1; at < 45; at++)
    for (const step of [1, 4, 17]) {
      const { a, shared } = masters();
      await a.lead();
      for (let count = 0; count < 30; count++) await a.append(`${count}`);
      shared.create(a.log.checkpointName(8), new Uint8Array());
      const acts = [
        async () => {
          for (let count = 0; count < 6; count++) await a.append("meanwhile");
        },
        () => a.merge(),
        async () => {
          shared.create(a.log.checkpointName(41), new Uint8Array());
          await a.log.trim(8);
        },
        async () => {
          shared.create(a.log.checkpointName(55), new Uint8Array());
          await a.log.trim(41);
        },
      ];
      const store = interruptedStore(shared, async (call) => {
        if (call < at || (call - at) % step !== 0) return;
        await acts.shift()?.();
      });
      const report = await verifyLog({ store, identity, crc32c, scratch: null });
      assert.deepEqual(problemsOf(report), [], `from call ${at} on, each ${step}`);
      assert.ok(report.lastIndex >= 61, `from call ${at} on, each ${step}: to ${report.lastIndex}`);
    }
});

test("damage is told of once, also when the walk looks again", async () => {
  const { a, shared } = masters();
  await a.lead();
  for (let count = 0; count < 30; count++) await a.append(`${count}`);
  flip(shared, nameOf(58), 90);
  const lists = 3;
  const objects = 31;
  const store = interruptedStore(shared, async (call) => {
    if (call === lists + objects) shared.remove(nameOf(60));
  });
  const text = one(problemsOf(await verifyLog({ store, identity, crc32c, scratch: null })));
  assert.match(text, /003a is damaged: .*; entry 58 and what comes after it are unreadable/);
});

test("what a crash left of merging is no part of the log; bytes behind an object are damage", async () => {
  const { a, shared } = masters();
  await a.lead();
  for (let count = 0; count < 20; count++) await a.append(`${count}`);
  const single = shared.objects.get(nameOf(4)) ?? new Uint8Array();
  await a.merge();
  shared.create(nameOf(4), single);
  const report = await verify(shared);
  assert.deepEqual(report.problems, []);
  assert.equal(report.asideCount, 2);
  const last = shared.objects.get(nameOf(40)) ?? new Uint8Array();
  shared.objects.set(nameOf(40), Uint8Array.from([...last, 0]));
  assert.match(one(problemsOf(await verify(shared))), /0028 is damaged: Something follows it/);
});

test("an object of another master than the fence of its epoch, or of an epoch without one, is told of", async () => {
  const { a, b, shared } = masters();
  await a.lead();
  const other = a.log.compose(
    a.end,
    { epoch: 1, writer: b.writer },
    [{ kind: ENTRY_KINDS.command, payload: new Uint8Array(3) }],
    1,
  );
  shared.create(other.name, other.bytes);
  assert.match(
    one(problemsOf(await verify(shared))),
    /^damaged: .*0002 is of another master than the fence/,
  );
  shared.remove(other.name);
  const leap = a.log.compose(a.end, { epoch: 3, writer: a.writer }, [], 1);
  shared.create(leap.name, leap.bytes);
  const said = problemsOf(await verify(shared));
  assert.match(said[0] ?? "", /^damaged: .*0002 is of epoch 3 behind epoch 1, and a fence/);
  assert.match(said[1] ?? "", /^spare: The fence of epoch 2 is missing/);
});

test("a walk from an entry begins with the object that holds it, single or merged, and says what was trimmed", async () => {
  const { a, shared } = masters();
  await a.lead();
  for (let at = 0; at < 20; at++) await a.append(`${at}`);
  const firsts = async (from: number) =>
    (await walked(storeOf(shared), from)).map((step) =>
      step.kind === "object" ? step.object.firstIndex : step.kind,
    );
  assert.deepEqual((await firsts(38)).slice(0, 2), [38, 40]);
  assert.deepEqual(await firsts(41), [40]);
  assert.deepEqual(await firsts(99), [40]);
  await a.merge();
  assert.equal((await firsts(20))[0], 1, "a merged one is read as a whole");
  shared.create(a.log.checkpointName(41), new Uint8Array());
  await a.log.trim(41);
  assert.deepEqual((await firsts(5)).slice(0, 2), [1, "trimmed"]);
});

test("a cut goes behind the last whole object, takes all that is later with it, and is not offered in history", async () => {
  const { a, b, shared } = await twoReigns();
  const store = storeOf(shared);
  const sound = await cutBehind({ store, identity, crc32c });
  assert.equal(sound.damage, null);
  shared.create(a.log.checkpointName(36), new Uint8Array());
  flip(shared, nameOf(35), 90);
  const cut = await cutBehind({ store, identity, crc32c });
  assert.match(cut.damage ?? "", /0023 is damaged/);
  assert.ok(cut.kind === "possible" && cut.keptTo === 34 && cut.readableTo === 34);
  assert.ok(cut.names.includes(nameOf(35)) && cut.names.includes(a.log.checkpointName(36)));
  assert.ok(!cut.names.includes(nameOf(33)));
  for (const name of cut.names) shared.remove(name);
  assert.deepEqual((await verify(shared)).problems, []);
  const c = new Master(shared, "c");
  await c.catchUp();
  assert.equal(c.end.index, 34);
  await c.lead();
  await c.append("after the cut");
  assert.deepEqual((await verify(shared)).problems, []);
  b.end = { index: 0, epoch: 0, seal: 0 };
  await b.catchUp();
  assert.deepEqual(b.end, c.end);

  const merged = await twoReigns();
  await merged.a.merge();
  const range = [...merged.shared.objects.keys()].find((name) => name.includes("/merged/")) ?? "";
  flip(merged.shared, range, 300);
  const none = await cutBehind({ store: storeOf(merged.shared), identity, crc32c });
  assert.equal(none.kind, "impossible");
});

test("a local folder is checked as it is, with the content of its checkpoints", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "log-walk-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const fileSystem = nodeFileSystem();
  const { a, shared } = await twoReigns();
  const store = new LocalLogStore(join(folder, "journal"));
  for (const [name, bytes] of shared.objects) await store.create(name, bytes);
  const checkpoint = async (index: number, groupId: bigint, said = index) => {
    const path = join(folder, "image");
    fileSystem.replaceFileSync(path, new Uint8Array(3000).fill(index));
    const file = fileSystem.openSync(path, "readWrite");
    const membership = { voters: [], learners: [], addresses: new Map() };
    await sealCheckpoint(file, groupId, { index, term: 1, membership }, crc32c);
    file.close();
    await store.createFromFile(a.log.checkpointName(said), path);
  };
  const scratch = { fileSystem, path: join(folder, "scratch") };
  await checkpoint(8, GROUP);
  await checkpoint(12, GROUP);
  const sound = await verifyLog({ store, identity, crc32c, scratch });
  assert.deepEqual(sound.problems, []);
  assert.deepEqual(
    sound.soundCheckpoints.map(({ index, imageBytes }) => [index, imageBytes]),
    [
      [8, 3000],
      [12, 3000],
    ],
  );
  await checkpoint(14, 9n);
  await checkpoint(16, GROUP, 18);
  await store.create(a.log.checkpointName(20), new Uint8Array(100));
  const report = await verifyLog({ store, identity, crc32c, scratch });
  const said = problemsOf(report);
  assert.equal(said.length, 3);
  assert.match(
    said[0] ?? "",
    /^damaged: The checkpoint .*000e is damaged: it is another journal's/,
  );
  assert.match(said[1] ?? "", /^damaged: .*0012 is damaged: it is the state of entry 16/);
  assert.match(said[2] ?? "", /^damaged: .*0014 is damaged: /);
  assert.equal(report.newestCheckpoint, 12);
  assert.match(report.problems[0]?.remedy ?? "", /that of entry 12 instead/);
  assert.equal(fileSystem.readFileSync(scratch.path), null, "nothing is left");
});
