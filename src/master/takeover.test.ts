import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { isRockpoolError } from "../common/errors.ts";
import { type BlockId, sequenceOf } from "../common/ids.ts";
import {
  at,
  CREATE_DIRECTORY,
  CREATE_FILE,
  callBy,
  type MasterFixture,
  ROOT_USER,
  until,
} from "./master_fixture.ts";
import { COMPLETE, createMaster, list, REMOVE } from "./ufs_fixture.ts";

/** Every file and directory in a folder, with what is in it. */
function contentsOf(path: string, below = ""): string[] {
  return readdirSync(join(path, below), { withFileTypes: true })
    .sort((left, right) => (left.name < right.name ? -1 : 1))
    .flatMap((entry) => {
      const name = `${below}/${entry.name}`;
      return entry.isDirectory()
        ? [`${name}/`, ...contentsOf(path, name)]
        : [`${name} ${readFileSync(join(path, name), "utf8")}`];
    });
}

const through = { ...CREATE_DIRECTORY, isPersisted: true };
const move = { isOverwrite: true };
/** Changes whose order in the under store matters. */
const SCENARIO: readonly ((
  fileSystem: MasterFixture["fileSystem"],
  call: ReturnType<typeof callBy>,
) => Promise<unknown>)[] = [
  (master, call) => master.createDirectory(call, at("/a/b"), through),
  (master, call) => master.rename(call, at("/old"), at("/a/b/f"), move),
  (master, call) => master.rename(call, at("/a"), at("/c"), move),
  (master, call) => master.createDirectory(call, at("/a"), through),
  (master, call) => master.rename(call, at("/dir"), at("/a/dir"), move),
  (master, call) => master.createFile(call, at("/a/e"), CREATE_FILE),
  (master, call) => master.completeFile(call, at("/a/e"), { ...COMPLETE, isAsyncPersist: true }),
  (master, call) => master.rename(call, at("/a/e"), at("/c/b/f"), move),
  (master, call) => master.remove(call, at("/a/dir/one"), REMOVE),
  (master, call) => master.rename(call, at("/a/dir/two"), at("/a/dir/one"), move),
  (master, call) => master.remove(call, at("/c"), REMOVE),
  (master, call) => master.createDirectory(call, at("/c/d"), through),
];

/** Runs the scenario; each call is repeated until it is answered, by the next leader when there must be one. */
async function runScenario(weather: "lostAfterApply" | "lostBefore", proposals: number) {
  const { put, ...first } = createMaster();
  put("old", "old");
  put("dir/one", "1");
  put("dir/two", "2");
  const master: { fixture: MasterFixture } = { fixture: first };
  first.journal.proposalsUntilLater = proposals;
  first.journal.weatherLater = weather;
  const untilAnswered = async <T>(ask: () => Promise<T>): Promise<T> => {
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        assert.ok(isRockpoolError(error, "UNAVAILABLE"), String(error));
        master.fixture = master.fixture.takeOver();
      }
    }
  };
  for (const [low, step] of SCENARIO.entries()) {
    const call = callBy(ROOT_USER, { high: 0n, low: BigInt(low) });
    await untilAnswered(() => step(master.fixture.fileSystem, call));
  }
  const ask = () => list(master.fixture, "/", { isRecursive: true });
  const namespace = await untilAnswered(ask);
  // What runs in the background may lose the leader too.
  const isIdle = () => master.fixture.state.view.intents(0, 1).length === 0;
  await until(() => isIdle() || !master.fixture.journal.isServing());
  await untilAnswered(ask);
  await until(isIdle);
  return {
    wasLost: first.journal.proposalsUntilLater < 0,
    namespace,
    contents: contentsOf(first.root),
  };
}

test("whenever a leader is lost, retries on the next one end in the same place", async () => {
  const expected = await runScenario("lostBefore", Infinity);
  assert.deepEqual(expected.namespace, ["/a", "/a/dir", "/a/dir/one", "/c", "/c/d"]);
  assert.deepEqual(expected.contents, ["/a/", "/a/dir/", "/a/dir/one 2", "/c/", "/c/d/"]);
  for (const weather of ["lostBefore", "lostAfterApply"] as const)
    for (let proposals = 0; ; proposals++) {
      const { wasLost, namespace, contents } = await runScenario(weather, proposals);
      const where = `${weather} at proposal ${proposals}`;
      assert.deepEqual(namespace, expected.namespace, where);
      assert.deepEqual(contents, expected.contents, where);
      if (!wasLost) break;
    }
});

/** Writes a file of three blocks as Alluxio's client does, which asks for blocks without an operation id. */
async function writeThroughLoss(
  writeType: "MUST_CACHE" | "ASYNC_THROUGH" | "CACHE_THROUGH",
  proposals: number,
) {
  const { put, root: folder, ...first } = createMaster();
  let fixture: MasterFixture = first;
  first.journal.proposalsUntilLater = proposals;
  first.journal.weatherLater = "lostAfterApply";
  let lossCount = 0;
  const untilAnswered = async <T>(ask: () => Promise<T>): Promise<T> => {
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        assert.ok(isRockpoolError(error, "UNAVAILABLE"), String(error));
        lossCount += 1;
        fixture = fixture.takeOver();
      }
    }
  };
  const once = (low: bigint) => callBy(ROOT_USER, { high: 0n, low });
  const any = callBy(ROOT_USER);
  await untilAnswered(() => fixture.fileSystem.createFile(once(1n), at("/f"), CREATE_FILE));
  const written: BlockId[] = [];
  for (const length of [100, 100, 30]) {
    const id = await untilAnswered(() => fixture.fileSystem.newBlockId(any, at("/f")));
    await untilAnswered(() => fixture.blockNamespace.commitBlock(id, length));
    written.push(id);
  }
  const options = {
    ...COMPLETE,
    ufsLengthBytes: writeType === "CACHE_THROUGH" ? 230 : null,
    isAsyncPersist: writeType === "ASYNC_THROUGH",
  };
  await untilAnswered(() => fixture.fileSystem.completeFile(once(2n), at("/f"), options));
  const status = () =>
    untilAnswered(() =>
      fixture.fileSystem.getStatus(any, at("/f"), { loadMetadata: "never", accessBits: 0 }),
    );
  const completed = await status();
  const [task] = fixture.persistQueue.pending(1, null);
  if (task !== undefined) {
    assert.deepEqual(task.blocks, [
      { blockId: written[0], lengthBytes: 100 },
      { blockId: written[1], lengthBytes: 100 },
      { blockId: written[2], lengthBytes: 30 },
    ]);
    put(task.ufsTempPath.slice(folder.length + 1), "x".repeat(230));
    const report = { lengthBytes: 230, ufsFingerprint: "", tempUfsPath: task.ufsTempPath };
    await untilAnswered(() =>
      fixture.persistQueue.persisted(task.fileId, report).catch((error: unknown) => {
        if (!isRockpoolError(error, "NOT_FOUND")) throw error; // it was done before
      }),
    );
    const isIdle = () => fixture.state.view.intents(0, 1).length === 0;
    await until(() => isIdle() || !fixture.journal.isServing());
    await status();
    await until(isIdle);
  }
  return { written, completed, info: await status(), isLost: lossCount > 0 };
}

for (const writeType of ["MUST_CACHE", "ASYNC_THROUGH", "CACHE_THROUGH"] as const)
  test(`a ${writeType} file has its own blocks in order, whenever its leader is lost`, async () => {
    for (let proposals = 0; ; proposals++) {
      const { written, completed, info, isLost } = await writeThroughLoss(writeType, proposals);
      if (writeType !== "MUST_CACHE") assert.equal(info.persistence, "PERSISTED");
      const lengths = [completed, info].map(({ blocks }) => blocks.map((b) => b.lengthBytes));
      assert.deepEqual(lengths, [
        [100, 100, 30],
        [100, 100, 30],
      ]);
      assert.equal(info.lengthBytes, 230);
      for (const { persistence, blocks } of [completed, info])
        for (const [index, { blockId }] of blocks.entries()) {
          // Where the under store is read, a block's sequence number says where; else ids are as they were written.
          if (persistence === "PERSISTED") assert.equal(sequenceOf(blockId), index);
          else assert.equal(blockId, written[index]);
          // A copy under an id has the bytes that were written under it.
          const writtenAs = written.indexOf(blockId);
          assert.ok(writtenAs === -1 || writtenAs === index);
        }
      if (!isLost) break;
    }
  });
