/**
 * What a real HDFS does not do on demand: the answer of a rename is lost. The real one is in test/services.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { FakeHdfs, type RenameFate } from "./hdfs_fixture.ts";
import { HdfsLogStore } from "./hdfs_log_store.ts";

const bytesOf = (text: string) => new TextEncoder().encode(text);

async function start() {
  const hdfs = new FakeHdfs();
  after(() => hdfs.stop());
  const nameNodes = [await hdfs.start()];
  return { hdfs, store: new HdfsLogStore("/j", { nameNodes, user: "u", uri: "hdfs://fake" }) };
}

test("create() whose answer was lost is settled by the file's number", async () => {
  for (const fate of ["lost", "doneAndLost", "lostAndDoneLater"] as const) {
    const { hdfs, store } = await start();
    hdfs.renames.push(fate);
    assert.equal(await store.create("log/1", bytesOf("ours")), "created", fate);
    const made = hdfs.files.get("/j/log/1");
    hdfs.renames.push(fate);
    assert.equal(await store.create("log/1", bytesOf("another")), "exists", fate);
    assert.equal(hdfs.files.get("/j/log/1"), made);
    assert.deepEqual([...hdfs.files.keys()], ["/j/log/1"], "nothing hidden is left");
  }
});

test("create() of what another one makes while our answer is lost is told as it is", async () => {
  const { hdfs, store } = await start();
  hdfs.renames.push("lost");
  const creating = store.create("log/1", bytesOf("ours"));
  while (hdfs.asked === 0) await new Promise((resolve) => setImmediate(resolve));
  hdfs.put("/j/log/1");
  const theirs = hdfs.files.get("/j/log/1");
  assert.equal(await creating, "exists");
  assert.equal(hdfs.files.get("/j/log/1"), theirs);
});

test("create() is UNAVAILABLE while nothing is known, and gives up", async () => {
  const { hdfs, store } = await start();
  hdfs.renames.push(...Array.from({ length: 50 }, (): RenameFate => "lost"));
  await assert.rejects(store.create("log/1", bytesOf("x")), { status: "UNAVAILABLE" });
  assert.ok(hdfs.asked < 10);
  assert.deepEqual([...hdfs.files.keys()], [], "what is not there any more can never get the name");
});
