/**
 * Masters that come and go while a client writes: one becomes three and four, one is removed, disks are wiped, the leader is
 * removed. Promise under test: no client sees an error, and nothing that was acknowledged is lost.
 * @module
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { DirectoryWriter } from "./directory_writer.ts";
import { LocalCluster } from "./local_cluster.ts";

type Row = { readonly state: string; readonly priority: string; readonly address: string };

/** What `journal quorum info` prints. */
async function quorum(
  cluster: LocalCluster,
): Promise<{ readonly leader: string; readonly rows: readonly Row[] }> {
  const words = ["fsadmin", "journal", "quorum", "info", "-domain", "MASTER"];
  const { exit, stdout } = await cluster.cli(...words);
  assert.equal(exit, 0, stdout);
  const head =
    /^Journal domain\t: MASTER\nQuorum size\t: (\d+)\nQuorum leader\t: (\S+)\n\nSTATE {7}\| PRIORITY \| SERVER ADDRESS\n/.exec(
      stdout,
    );
  assert.ok(head, stdout);
  const rows = stdout
    .slice(head[0].length)
    .trimEnd()
    .split("\n")
    .map((line) => line.split("|").map((cell) => cell.trim()))
    .map(([state = "", priority = "", address = ""]) => ({ state, priority, address }));
  assert.equal(rows.length, Number(head[1]));
  return { leader: head[2] ?? "", rows };
}

/** Waits until the voters are those of these numbers, and all are there. */
async function untilVoters(cluster: LocalCluster, numbers: readonly number[]): Promise<void> {
  const wanted = numbers.map((number) => cluster.journalAddress(number)).sort();
  await cluster.until(`the voters are masters ${numbers.join(", ")}`, async () => {
    const { rows } = await quorum(cluster);
    const voters = rows
      .filter(({ state, priority }) => state === "AVAILABLE" && priority === "1")
      .map(({ address }) => address)
      .sort();
    return rows.length === wanted.length && voters.join() === wanted.join();
  });
}

async function run(cluster: LocalCluster, ...words: readonly string[]): Promise<string> {
  const { exit, stdout, stderr } = await cluster.cli(...words);
  assert.equal(exit, 0, `${words.join(" ")}: ${stdout}${stderr}`);
  return stdout;
}

async function untilEnded(cluster: LocalCluster, number: number): Promise<void> {
  await cluster.until(`master ${number} ends`, () => !cluster.isRunning("master", number));
}

describe("one master becomes four, and three again", () => {
  let cluster: LocalCluster;
  let writer: DirectoryWriter;
  before(async () => {
    cluster = await LocalCluster.start({ masters: 1, workers: 1 });
    writer = await DirectoryWriter.start(cluster, "/while");
  });
  after(async () => {
    await writer?.close();
    await cluster?.stop();
  });

  test("S0-63 `local add master` adds one to a cluster on this machine", async () => {
    const gap = await writer.gapDuring(cluster, async () => {
      const said = await run(cluster, "local", "add", "master", "--dir", cluster.dir);
      assert.match(said, /^master 2 runs \(pid \d+\)\nmaster 2 is a voter: 2 masters\n/);
      cluster.reload();
      await untilVoters(cluster, [1, 2]);
    });
    console.log(`master 2 added: longest gap ${gap} ms`);
    assert.deepEqual(writer.failures, []);
  });

  for (const count of [3, 4])
    test(`S0-64 master ${count} is added while a client writes`, async () => {
      const gap = await writer.gapDuring(cluster, async () => {
        const node = await cluster.addMaster();
        assert.equal(node.number, count);
        const address = cluster.journalAddress(count);
        const adding = cluster.cli("journal", "quorum", "add", "-address", address);
        await cluster.startProcess("master", count);
        const { exit, stdout } = await adding;
        assert.equal(exit, 0, stdout);
        assert.match(
          stdout,
          /(Added server at: \S+ to quorum: MASTER|is a voter of the quorum already)\n$/,
        );
        await untilVoters(
          cluster,
          Array.from({ length: count }, (_, at) => at + 1),
        );
      });
      console.log(`master ${count} added: longest gap ${gap} ms`);
      assert.deepEqual(writer.failures, []);
    });

  test("S0-64 one that is gone is removed, is told so when it comes back, and may come anew", async () => {
    const address = cluster.journalAddress(4);
    cluster.kill("master", 4, "SIGKILL");
    await cluster.until("it is seen to be gone", async () => {
      const { rows } = await quorum(cluster);
      return rows.some((row) => row.address === address && row.state === "UNAVAILABLE");
    });
    const words = ["fsadmin", "journal", "quorum", "remove", "-domain", "MASTER", "-address"];
    assert.equal(
      await run(cluster, ...words, address),
      `Removed server at: ${address} from quorum: MASTER\n`,
    );
    await untilVoters(cluster, [1, 2, 3]);
    const again = await cluster.cli(...words, address);
    assert.equal(again.exit, 255);
    assert.match(
      again.stdout,
      new RegExp(`^${address} is no member of the quorum: its members are localhost:`),
    );
    await assert.rejects(cluster.startProcess("master", 4));
    await untilEnded(cluster, 4);
    assert.match(cluster.log("master", 4), /removed/);
    await cluster.format(4);
    await cluster.startProcess("master", 4);
    await untilVoters(cluster, [1, 2, 3, 4]);
    assert.deepEqual(writer.failures, []);
    assert.deepEqual(await writer.missing(), []);
  });

  test("S0-3 the masters that were added lead, with all that there is", async () => {
    await writer.stop();
    const all = await DirectoryWriter.start(cluster, "/all");
    try {
      for (const number of [2, 3, 4, 1]) {
        await run(cluster, "quorum", "elect", "--address", cluster.journalAddress(number));
        assert.equal(await cluster.leader(), number);
        assert.deepEqual(await writer.missing(all), []);
      }
      // With the list of four masters in its site file now.
      await run(cluster, "local", "stop", "master", "1", "--dir", cluster.dir);
      await cluster.startProcess("master", 1);
      await untilVoters(cluster, [1, 2, 3, 4]);
    } finally {
      await all.close();
    }
    assert.deepEqual(all.failures, []);
  });
});

describe("disks that are lost, and a leader that is removed", () => {
  let cluster: LocalCluster;
  let writer: DirectoryWriter;
  before(async () => {
    cluster = await LocalCluster.start({ masters: 3, workers: 1 });
    writer = await DirectoryWriter.start(cluster, "/while");
  });
  after(async () => {
    await writer?.close();
    await cluster?.stop();
  });

  test("a standby whose disk was wiped becomes a voter again by itself", async () => {
    const leader = await cluster.leader();
    const number = leader === 1 ? 2 : 1;
    cluster.kill("master", number, "SIGKILL");
    await untilEnded(cluster, number);
    await cluster.wipe(number);
    await cluster.startProcess("master", number);
    await untilVoters(cluster, [1, 2, 3]);
    assert.deepEqual(writer.failures, []);
  });

  test("a leader whose disk was wiped becomes a voter again, and can lead", async () => {
    const number = await cluster.leader();
    cluster.kill("master", number, "SIGKILL");
    await untilEnded(cluster, number);
    await cluster.wipe(number);
    await cluster.startProcess("master", number);
    await untilVoters(cluster, [1, 2, 3]);
    await run(cluster, "quorum", "elect", "--address", cluster.journalAddress(number));
    assert.deepEqual(writer.failures, []);
    assert.deepEqual(await writer.missing(), []);
  });

  test("the leader is removed: another one leads, and the removed one ends and says why", async () => {
    const number = await cluster.leader();
    const address = cluster.journalAddress(number);
    const gap = await writer.gapDuring(cluster, async () => {
      assert.equal(
        await run(
          cluster,
          "journal",
          "quorum",
          "remove",
          "--domain",
          "MASTER",
          "--address",
          address,
        ),
        `Removed server at: ${address} from quorum: MASTER\n`,
      );
      await untilVoters(
        cluster,
        [1, 2, 3].filter((one) => one !== number),
      );
    });
    console.log(`the leader removed: longest gap ${gap} ms`);
    await untilEnded(cluster, number);
    assert.match(cluster.log("master", number), /removed/);
    assert.deepEqual(writer.failures, []);
    assert.deepEqual(await writer.missing(), []);
  });
});
