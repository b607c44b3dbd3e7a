/**
 * Disks that lie: a log damaged in the middle or torn at its end, metadata that is damaged or gone, and a log that nobody can
 * repair. Promise under test: nothing that was acknowledged is lost while one sound copy is left, what was found is said, and without one
 * the master stays down until somebody decides.
 * @module
 */
import assert from "node:assert/strict";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { EXIT } from "../../src/common/errors.ts";
import { flipInLog, spoilHead, tearTail } from "./damage.ts";
import { DirectoryWriter } from "./directory_writer.ts";
import { LocalCluster } from "./local_cluster.ts";

const ENTRIES = 300;

async function run(cluster: LocalCluster, ...words: readonly string[]): Promise<string> {
  const { exit, stdout, stderr } = await cluster.cli(...words);
  assert.equal(exit, 0, `${words.join(" ")}: ${stdout}${stderr}`);
  return stdout;
}

async function kill(cluster: LocalCluster, number: number): Promise<void> {
  cluster.kill("master", number, "SIGKILL");
  await cluster.until("it ends", () => !cluster.isRunning("master", number));
}

const metastoreOf = (cluster: LocalCluster, number: number) =>
  join(cluster.journalOf(number), "..", "metastore");

/** What a master has logged since `act` began. */
async function loggedBy(
  cluster: LocalCluster,
  number: number,
  act: () => Promise<void>,
): Promise<string> {
  const before = cluster.log("master", number).length;
  await act();
  return cluster.log("master", number).slice(before);
}

describe("damage on one of three masters", () => {
  let cluster: LocalCluster;
  let writer: DirectoryWriter;
  before(async () => {
    cluster = await LocalCluster.start({ masters: 3, workers: 1 });
    writer = await DirectoryWriter.start(cluster, "/while");
    await cluster.until("there is a log", () => writer.acknowledged.length > ENTRIES);
  });
  after(async () => {
    await writer?.close();
    await cluster?.stop();
  });

  async function aStandby(): Promise<number> {
    return (await cluster.leader()) === 1 ? 2 : 1;
  }

  /** Hurts a standby while it is down; it must come back with everything, which it shows by leading. */
  async function hurt(number: number, how: () => void): Promise<string> {
    await kill(cluster, number);
    how();
    return loggedBy(cluster, number, async () => {
      await cluster.startProcess("master", number);
      await cluster.until("it has caught up", async () => {
        const report = await run(cluster, "fsadmin", "report", "raft");
        return new RegExp(`\n${cluster.journalAddress(number)} +voter +follower +follows `).test(
          report,
        );
      });
      const address = cluster.journalAddress(number);
      await run(cluster, "quorum", "elect", "--address", address);
      assert.deepEqual(await writer.missing(), []);
    });
  }

  test("a log damaged in the middle, without the state that holds it: got back from the others", async () => {
    const number = await aStandby();
    const said = await hurt(number, () => {
      rmSync(metastoreOf(cluster, number), { recursive: true });
      flipInLog(cluster.journalOf(number), 0.4);
    });
    assert.match(said, /damageFound verdict=promised /);
    assert.match(said, /damagedSetAside |repairing /);
    assert.match(said, /journal repaired /);
    assert.deepEqual(writer.failures, []);
  });

  test("a log damaged in the middle, and the state holds it: the log begins behind the state", async () => {
    const number = await aStandby();
    const said = await hurt(number, () => flipInLog(cluster.journalOf(number), 0.4));
    assert.match(said, /damageFound verdict=covered /);
    // The state is the only copy now, so a second one is made at once.
    assert.match(said, /checkpointMade /);
    assert.deepEqual(writer.failures, []);
  });

  test("a torn tail is dropped, and said", async () => {
    const number = await aStandby();
    const said = await hurt(number, () => tearTail(cluster.journalOf(number)));
    assert.match(said, /tornTailDropped path=\S+ offsetBytes=\d+ lengthBytes=\d+/);
    assert.doesNotMatch(said, /damageFound/);
    assert.deepEqual(writer.failures, []);
  });

  test("metadata that is damaged or gone is rebuilt", async () => {
    const spoilt = await aStandby();
    const first = await hurt(spoilt, () =>
      spoilHead(join(metastoreOf(cluster, spoilt), "store.mdb")),
    );
    assert.match(first, /metadata is rebuilt from the journal/);
    const removed = await aStandby();
    await hurt(removed, () => rmSync(metastoreOf(cluster, removed), { recursive: true }));
    assert.deepEqual(writer.failures, []);
    assert.deepEqual(await writer.missing(), []);
  });
});

/** Gives up what cannot be read of a master's journal, after having been told how far it can be. */
async function giveUp(cluster: LocalCluster, number: number): Promise<void> {
  const wrong = await cluster.masterCli(number, "journal", "repair", "--accept-loss-after", "1");
  assert.equal(wrong.exit, 255);
  const last = /can be read through entry (\d+), not 1 /.exec(wrong.stdout)?.[1] ?? "";
  const words = ["journal", "repair", "--accept-loss-after", last];
  const repaired = await cluster.masterCli(number, ...words);
  assert.equal(repaired.exit, 0, repaired.stdout);
  assert.match(repaired.stdout, /^The damaged bytes are in \S+\.damaged-1\n/);
  assert.equal((await cluster.masterCli(number, "journal", "verify", "--deep")).exit, 0);
  const again = await cluster.masterCli(number, ...words);
  assert.match(again.stdout, /^Nothing is wrong with the journal/);
}

describe("damage that nobody can repair", () => {
  let cluster: LocalCluster;
  let three: LocalCluster;
  after(async () => {
    await cluster?.stop();
    await three?.stop();
  });

  test("three masters that lost the same entries elect nobody, say why, and go on when the entries are given up", async () => {
    three = await LocalCluster.start({ masters: 3, workers: 1 });
    const writer = await DirectoryWriter.start(three, "/lost");
    await three.until("there is a log", () => writer.acknowledged.length > ENTRIES);
    await writer.close();
    const numbers = [1, 2, 3];
    for (const number of numbers) three.kill("master", number, "SIGKILL");
    for (const number of numbers) {
      await three.until("it ends", () => !three.isRunning("master", number));
      rmSync(metastoreOf(three, number), { recursive: true });
      flipInLog(three.journalOf(number), 0.5);
    }
    const starts = numbers.map((number) => three.startProcess("master", number).catch(() => {}));
    await three.until("each says that it is stuck", () =>
      numbers.every((number) =>
        /repairStuck missingFrom=\d+ promisedIndex=\d+ message="[^"]*nobody is elected"/.test(
          three.log("master", number),
        ),
      ),
    );
    assert.equal(await three.leaderAmong([]), null);
    const report = await run(three, "fsadmin", "report", "raft");
    assert.match(report, /^Raft journal: leader none/);
    assert.match(report, /acknowledged entries through \d+ and can read \d+/);
    for (const number of numbers) await kill(three, number);
    await Promise.all(starts);
    for (const number of numbers) await giveUp(three, number);
    await run(three, "local", "start", "--dir", three.dir);
    await run(three, "fs", "mkdir", "/after");
    assert.match(await run(three, "fs", "ls", "/"), /\/lost\n/);
  });

  test("a lone master stays down, says which entries and what to do, and comes back when they are given up", async () => {
    cluster = await LocalCluster.start({ masters: 1, workers: 1 });
    const writer = await DirectoryWriter.start(cluster, "/lost");
    await cluster.until("there is a log", () => writer.acknowledged.length > ENTRIES);
    await writer.close();
    const dump = join(cluster.dir, "dump");
    const range = ["-start", "5", "-end", "9"];
    const read = await cluster.masterCli(1, "readJournal", ...range, "-outputDir", dump);
    assert.equal(
      read.stdout,
      `Dumping journal of type EMBEDDED to ${dump}\nWrote 4 entries to ${dump}/edits.txt\n`,
    );
    const numbers = [
      ...readFileSync(join(dump, "edits.txt"), "utf8").matchAll(/^sequence_number: (\d+)$/gm),
    ];
    assert.deepEqual(
      numbers.map(([, number]) => number),
      ["5", "6", "7", "8"],
    );
    await kill(cluster, 1);
    rmSync(metastoreOf(cluster, 1), { recursive: true });
    flipInLog(cluster.journalOf(1), 0.5);
    const said = await loggedBy(cluster, 1, () =>
      assert.rejects(cluster.startProcess("master", 1)),
    );
    assert.match(said, new RegExp(`exitCode=${EXIT.journalDamaged}`));
    assert.match(said, /Entries (\d+) to (\d+) were acknowledged and are unreadable/);
    assert.match(said, /journal repair --accept-loss-after \d+/);
    const last = /--accept-loss-after (\d+)/.exec(said)?.[1] ?? "";
    const verified = await cluster.masterCli(1, "journal", "verify");
    assert.equal(verified.exit, 255);
    assert.match(verified.stdout, /damaged/);
    await giveUp(cluster, 1);
    assert.match(cluster.log("master", 1), new RegExp(`--accept-loss-after ${last}`));
    await cluster.startProcess("master", 1);
    await run(cluster, "fs", "mkdir", "/after");
    assert.match(await run(cluster, "fs", "ls", "/"), /\/lost\n/);
  });
});
