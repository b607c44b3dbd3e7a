/**
 * Planned changes while clients write without pause: hand-overs, a rolling restart of all masters, a stop that is refused.
 * Promise under test: no client sees an error, and everything acknowledged is there. The gaps are printed, not judged.
 * @module
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { DirectoryWriter } from "./directory_writer.ts";
import { LocalCluster } from "./local_cluster.ts";
import { OwnWriter } from "./own_writer.ts";

const HAND_OVERS = 6;

describe("planned changes under load", () => {
  let cluster: LocalCluster;
  let directories: DirectoryWriter;
  let files: OwnWriter;

  before(async () => {
    cluster = await LocalCluster.start({ masters: 3, workers: 1 });
    directories = await DirectoryWriter.start(cluster, "/directories");
    files = await OwnWriter.start(cluster, "/files");
    await files.ready;
  });
  after(async () => {
    await directories?.close();
    await files?.stop();
    await cluster?.stop();
  });

  /** Runs a command against the cluster that must end well. */
  async function run(...words: readonly string[]): Promise<string> {
    const { exit, stdout, stderr } = await cluster.cli(...words);
    assert.equal(exit, 0, `${words.join(" ")}: ${stdout}${stderr}`);
    return stdout;
  }

  async function standbys(): Promise<readonly number[]> {
    const leader = await cluster.leader();
    return [1, 2, 3].filter((number) => number !== leader);
  }

  async function elect(number: number): Promise<string> {
    const address = cluster.journalAddress(number);
    const said = await run("fsadmin", "journal", "quorum", "elect", "-address", address);
    const expected = new RegExp(
      `^Initiating transfer of leadership to ${address}\nSuccessfully elected ${address} as the new leader\ntransferred in (\\d+) ms\nResetting priorities of masters after successful transfer of leadership\nQuorum priorities were reset to 1\n$`,
    );
    const match = expected.exec(said);
    assert.ok(match, said);
    assert.equal(await cluster.leader(), number);
    return match[1] ?? "";
  }

  test("S0-66.3 leadership is handed over again and again", async () => {
    const gaps: number[] = [];
    const took: string[] = [];
    for (let i = 0; i < HAND_OVERS; i++) {
      const [heir = 0] = await standbys();
      const gap = await directories.gapDuring(cluster, async () => {
        took.push(await elect(heir));
      });
      gaps.push(gap);
    }
    console.log(
      `hand-overs: transferred in ${took.join(", ")} ms, longest gaps ${gaps.join(", ")} ms`,
    );
    assert.deepEqual([directories.failures, files.failures], [[], []]);
  });

  test("S0-66.2 S0-66.4 all masters are restarted one after the other: standbys, a hand-over, the former leader", async () => {
    const leader = await cluster.leader();
    const [first = 0, second = 0] = await standbys();
    const restart = async (number: number) => {
      await run("local", "stop", "master", String(number), "--dir", cluster.dir);
      await run("local", "start", "master", String(number), "--dir", cluster.dir);
      // The next one may go when this one has caught up.
      await cluster.until(`master ${number} has caught up`, async () => {
        const report = await run("fsadmin", "report", "raft", "--format", "json");
        const { masters } = JSON.parse(report) as {
          masters: { address?: string; lastIndex?: number; commitIndex?: number }[];
        };
        const committed = Math.max(...masters.map(({ commitIndex = 0 }) => commitIndex));
        const own = masters.find(({ address }) => address === cluster.journalAddress(number));
        return (own?.lastIndex ?? 0) > 0 && committed - (own?.lastIndex ?? 0) < 1000;
      });
    };
    const gaps = [
      await directories.gapDuring(cluster, () => restart(first)),
      await directories.gapDuring(cluster, () => restart(second)),
      await directories.gapDuring(cluster, async () => void (await elect(first))),
      await directories.gapDuring(cluster, () => restart(leader)),
    ];
    console.log(`rolling restart: longest gaps ${gaps.join(", ")} ms`);
    assert.deepEqual([directories.failures, files.failures], [[], []]);
  });

  test("S0-66 local restart masters --rolling does the same as one command, each step checked", async () => {
    const leader = await cluster.leader();
    const pids = () => [1, 2, 3].map((number) => cluster.pid("master", number));
    const before = pids();
    let said = "";
    const gap = await directories.gapDuring(cluster, async () => {
      said = await run("local", "restart", "masters", "--rolling", "--dir", cluster.dir);
    });
    const restarted = [...said.matchAll(/restarting the (?:standby|former leader) master (\d)/g)];
    assert.equal(restarted.length, 3, said);
    assert.equal(Number(restarted.at(-1)?.[1]), leader, said);
    assert.match(
      said,
      /\nStep 3: leadership goes from master \d to localhost:\d+, which is updated\n/,
    );
    assert.match(said, /Rolling restart done: 3 masters, localhost:\d+ leads\n$/);
    for (const [at, pid] of pids().entries()) assert.notEqual(pid, before[at]);
    assert.notEqual(await cluster.leader(), leader);
    console.log(`rolling restart as one command: longest gap ${gap} ms`);
    assert.deepEqual([directories.failures, files.failures], [[], []]);
  });

  test("a rolling restart is refused while a master is down, and restarts nothing", async () => {
    const [first = 0] = await standbys();
    await run("local", "stop", "master", String(first), "--dir", cluster.dir);
    const up = [1, 2, 3].filter((number) => number !== first);
    const before = up.map((number) => cluster.pid("master", number));
    const { exit, stdout } = await cluster.cli(
      ...["local", "restart", "masters", "--rolling", "--dir", cluster.dir],
    );
    assert.equal(exit, 1);
    assert.match(stdout, new RegExp(`${cluster.journalAddress(first)} is down`));
    assert.deepEqual(
      up.map((number) => cluster.pid("master", number)),
      before,
    );
    await run("local", "start", "master", String(first), "--dir", cluster.dir);
  });

  test("a leader that is stopped hands over first", async () => {
    const leader = await cluster.leader();
    let said = "";
    const gap = await directories.gapDuring(cluster, async () => {
      said = await run("local", "stop", "master", String(leader), "--dir", cluster.dir);
    });
    assert.match(said, /^Transferred leadership to localhost:\d+ in \d+ ms\nmaster \d stopped\n$/);
    console.log(`stop of the leader: longest gap ${gap} ms`);
    assert.deepEqual([directories.failures, files.failures], [[], []]);
  });

  test("a stop that would leave no quorum is refused, and says who is down", async () => {
    const down = [1, 2, 3].find((number) => !cluster.isRunning("master", number)) ?? 0;
    const leader = await cluster.leader();
    for (const number of [1, 2, 3].filter((one) => one !== down)) {
      const words = ["local", "stop", "master", String(number), "--dir", cluster.dir];
      const { exit, stdout } = await cluster.cli(...words);
      assert.equal(exit, 1);
      assert.match(
        stdout,
        new RegExp(
          `^Without localhost:\\d+ only 1 of 3 voters would be up and 2 are needed: ${cluster.journalAddress(down)} is down\nStart those first, or add --force`,
        ),
      );
    }
    assert.equal(await cluster.leader(), leader);
    const report = await run("fsadmin", "report", "raft");
    assert.match(report, /\n2 of 3 voters are up \(localhost:\d+ not\): 0 more may be lost\n/);
    await run("local", "start", "master", String(down), "--dir", cluster.dir);
  });

  test("a hand-over to the leader itself, and to an address that no member has, fails", async () => {
    const leader = cluster.journalAddress(await cluster.leader());
    const self = await cluster.cli("quorum", "elect", "--address", leader);
    assert.equal(self.exit, 255);
    assert.equal(
      self.stdout,
      `Initiating transfer of leadership to ${leader}\nFailed to elect ${leader} as the new leader: ${leader} is already the leader\nResetting priorities of masters after failed transfer of leadership\nQuorum priorities were reset to 1\n`,
    );
    const unknown = await cluster.cli("journal", "quorum", "elect", "--address", "nobody:1");
    assert.equal(unknown.exit, 255);
    assert.match(unknown.stdout, /nobody:1 is no member of the quorum: its members are localhost:/);
  });

  test("everything that was acknowledged is there", async () => {
    await directories.stop();
    await files.stop();
    assert.deepEqual([directories.failures, files.failures], [[], []]);
    assert.deepEqual(await directories.missing(), []);
    console.log(
      `${directories.acknowledged.length} directories and ${files.acknowledged.length} files were acknowledged`,
    );
  });
});
