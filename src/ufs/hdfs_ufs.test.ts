/**
 * What a real HDFS does not do on demand: answers that are lost, and writers that take their time.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { isRockpoolError } from "../common/errors.ts";
import { FakeHdfs } from "./hdfs_fixture.ts";
import { HdfsUnderFileSystem } from "./hdfs_ufs.ts";

const OPTIONS = { owner: "", group: "", mode: 0o644 };
async function start(silenceMaxMs = 20_000) {
  const hdfs = new FakeHdfs();
  after(() => hdfs.stop());
  const nameNode = await hdfs.start();
  const options = { nameNodes: [nameNode], user: "u", uri: "hdfs://fake", silenceMaxMs };
  return { hdfs, ufs: new HdfsUnderFileSystem("/", options) };
}

test("rename() tells what became of it when answers are lost", async () => {
  for (const fate of ["lost", "doneAndLost", "lostAndDoneLater"] as const) {
    const { hdfs, ufs } = await start();
    hdfs.put("/a/from");
    hdfs.renames.push(fate);
    await ufs.rename("/a/from", "/a/to");
    assert.deepEqual([...hdfs.files.keys()], ["/a/to"], fate);
  }
});

test("rename() does not try for ever", async () => {
  const { hdfs, ufs } = await start();
  hdfs.put("/a/from");
  hdfs.renames.push(...Array.from({ length: 50 }, () => "lost" as const));
  await assert.rejects(ufs.rename("/a/from", "/a/to"), (error: unknown) =>
    isRockpoolError(error, "UNAVAILABLE"),
  );
  assert.ok(hdfs.asked < 10);
});

test("a writer may pause for longer than a server may be silent", async () => {
  const silenceMaxMs = 200;
  const { hdfs, ufs } = await start(silenceMaxMs);
  const writer = await ufs.create("/a/slow", OPTIONS);
  await writer.write(Buffer.from("one"));
  // This is about time: nothing is to be waited for but that it goes by.
  await delay(4 * silenceMaxMs);
  await writer.write(Buffer.from("two"));
  assert.equal((await writer.commit()).lengthBytes, 6);
  assert.deepEqual([...hdfs.files.keys()], ["/a/slow"]);
});
