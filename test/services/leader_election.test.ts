/**
 * Election on real ZooKeeper servers: one leader at any time, the next one when it goes, and nodes that Alluxio's clients know.
 * @module
 */
import assert from "node:assert/strict";
import { after, before, describe, type TestContext, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { Elector } from "../../src/ufs_journal/elector.ts";
import { nodeWorld } from "../../src/world/node_world.ts";
import type { World } from "../../src/world/ports.ts";
import {
  type ElectionEvent,
  LeaderElection,
  type LeaderElectionOptions,
} from "../../src/zookeeper/leader_election.ts";
import { readMasters } from "../../src/zookeeper/masters.ts";
import { isZooKeeperError } from "../../src/zookeeper/protocol.ts";
import { ZooKeeper } from "../../src/zookeeper/zookeeper.ts";
import { CutLine } from "./cut_line.ts";
import { ZooKeeperServers } from "./zookeeper_servers.ts";

const why = ZooKeeperServers.missing();
if (why !== null && process.env["ROCKPOOL_REQUIRE_JAVA"] === "1")
  throw new Error(`These tests need a JDK and Maven: ${why}`);
const skip = why === null ? false : `NOT RUN: ${why}`;

const SESSION_MS = 1500;
const WITHIN_MS = 30_000;

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + WITHIN_MS;
  while (!(await holds())) {
    if (performance.now() > deadlineMs) throw new Error(`In vain: ${what}`);
    await delay(2);
  }
}

/** A candidate and what it was told. */
class Master {
  readonly election: Elector;
  readonly told: string[] = [];
  readonly events: ElectionEvent[] = [];
  chosenAtMs = 0;

  constructor(
    options: Pick<LeaderElectionOptions, "connect" | "address" | "electionPath" | "leaderPath"> &
      Partial<LeaderElectionOptions>,
  ) {
    // That it fits the port is for the compiler to see.
    this.election = new LeaderElection({
      sessionTimeoutMs: SESSION_MS,
      connectionTimeoutMs: 15_000,
      world: nodeWorld(),
      onEvent: (event) => this.events.push(event),
      ...options,
    });
  }

  async start(): Promise<this> {
    await this.election.start({
      onChosen: () => {
        this.chosenAtMs = performance.now();
        this.told.push("chosen");
      },
      onDeposed: (reason) => this.told.push(`deposed: ${reason}`),
      onCandidates: () => {},
    });
    return this;
  }

  get leads(): boolean {
    return this.election.isChosenFor(0);
  }

  get seen(): readonly string[] {
    return this.election
      .candidates()
      .map(({ address, isSelf, isChosen }) =>
        [address, isSelf ? "self" : "", isChosen ? "chosen" : ""].filter((word) => word).join(" "),
      );
  }
}

describe("election on one ZooKeeper server", { skip }, () => {
  let servers: ZooKeeperServers;
  let keeper: ZooKeeper;
  let tests = 0;
  before(async () => {
    servers = await ZooKeeperServers.start(1);
    keeper = new ZooKeeper({
      connect: servers.connectString,
      sessionTimeoutMs: 60_000,
      world: nodeWorld(),
    });
  });
  after(async () => {
    await keeper?.close();
    await servers?.stop();
  });

  /** Paths of its own for each test, and an end for all it starts. */
  function scene(t: TestContext) {
    const paths = { electionPath: `/e${++tests}/election`, leaderPath: `/e${tests}/leader` };
    const masters: Master[] = [];
    t.after(() => Promise.all(masters.map(({ election }) => election.close())));
    const add = async (address: string, options: Partial<LeaderElectionOptions> = {}) => {
      const master = new Master({ connect: servers.connectString, address, ...paths, ...options });
      masters.push(master);
      return master.start();
    };
    return { ...paths, add };
  }

  test("S1-5 S1-8 S1-10: of three candidates the first is chosen, and all see all", async (t) => {
    const { add, electionPath } = scene(t);
    const a = await add("a:19998");
    await until("the first is chosen", () => a.leads);
    const [b, c] = [await add("b:19998"), await add("c:19998")];
    await until("all are seen", () => [a, b, c].every(({ seen }) => seen.length === 3));
    assert.deepEqual(a.seen, ["a:19998 self chosen", "b:19998", "c:19998"]);
    assert.deepEqual(c.seen, ["a:19998 chosen", "b:19998", "c:19998 self"]);
    assert.deepEqual(
      [a, b, c].map(({ leads }) => leads),
      [true, false, false],
    );
    const { names } = await keeper.getChildren(electionPath);
    for (const name of names) assert.match(name, /^_c_[0-9a-f-]{36}-lock-\d{10}$/);
    assert.ok(a.election.isChosenFor(SESSION_MS / 3));
    assert.ok(!a.election.isChosenFor(SESSION_MS), "not for longer than its session lives");
  });

  test("S1-5: the leader's address is told when it serves, and goes with it", async (t) => {
    const { add, leaderPath, electionPath } = scene(t);
    const a = await add("a:19998");
    const b = await add("b:19998");
    await until("the first is chosen", () => a.leads);
    const paths = { electionPath, leaderPath };
    assert.deepEqual(await readMasters(keeper, paths), {
      leader: null,
      masters: ["a:19998", "b:19998"],
    });
    await assert.rejects(b.election.announce(), /b:19998 is chosen no more/);
    // What an earlier leader may have left.
    await keeper.create(`${leaderPath}/old:19998`, new Uint8Array());
    await a.election.announce();
    await a.election.announce();
    assert.deepEqual((await keeper.getChildren(leaderPath)).names, ["a:19998"]);
    const stat = await keeper.exists(`${leaderPath}/a:19998`);
    assert.notEqual(stat?.ephemeralOwner, 0n);
    await a.election.close();
    await until("the next one is chosen", () => b.leads);
    await b.election.announce();
    assert.deepEqual(await readMasters(keeper, paths), { leader: "b:19998", masters: ["b:19998"] });
  });

  test("a leader that closes is followed at once", async (t) => {
    const { add } = scene(t);
    const a = await add("a:1");
    const b = await add("b:1");
    await until("the first is chosen", () => a.leads);
    const closedMs = performance.now();
    await a.election.close();
    assert.deepEqual(a.told, ["chosen", "deposed: it was closed"]);
    await until("the next one is chosen", () => b.leads);
    t.diagnostic(`followed after ${Math.round(b.chosenAtMs - closedMs)} ms`);
  });

  test("a leader whose line is cut is followed when its session ends, and stands again behind the others", async (t) => {
    const { add } = scene(t);
    const line = await CutLine.to(servers.connectString);
    t.after(() => line.close());
    const a = await add("a:1", { connect: line.connectString });
    const b = await add("b:1");
    await until("the first is chosen", () => a.leads);
    await a.election.announce();
    const cutMs = performance.now();
    line.cut();
    await until("it knows", () => a.told.length === 2);
    const knewMs = performance.now();
    await until("the next one is chosen", () => b.leads);
    assert.ok(b.chosenAtMs >= knewMs - 50, "not before the old one knows");
    t.diagnostic(
      `followed after ${Math.round(b.chosenAtMs - cutMs)} ms of a session of ${SESSION_MS} ms`,
    );
    assert.match(a.told[1] ?? "", /^deposed: its ZooKeeper session ended/);
    line.mend();
    await until("it stands again", () => a.seen.includes("a:1 self"));
    assert.deepEqual(a.seen, ["b:1 chosen", "a:1 self"]);
    await b.election.close();
    await until("it is chosen again", () => a.leads);
    assert.equal(a.told[2], "chosen");
  });

  test("a leader that died and is started again keeps nobody waiting for its old session", async (t) => {
    const { add, leaderPath } = scene(t);
    const line = await CutLine.to(servers.connectString);
    t.after(() => line.close());
    const a = await add("a:1", { connect: line.connectString, sessionTimeoutMs: 40_000 });
    const b = await add("b:1");
    await until("the first is chosen", () => a.leads);
    await a.election.announce();
    line.cut();
    const startedMs = performance.now();
    const again = await add("a:1");
    await until("the next one is chosen", () => b.leads);
    t.diagnostic(`followed after ${Math.round(b.chosenAtMs - startedMs)} ms`);
    assert.deepEqual((await keeper.getChildren(leaderPath)).names, []);
    await until("it stands", () => b.seen.join() === "b:1 self chosen,a:1");
    line.mend(); // it was not dead: it stands behind, and removes nobody
    await until("all stand", () => b.seen.length === 3);
    assert.deepEqual(again.told, []);
    assert.match(a.told[1] ?? "", /somebody removed its node/);
  });

  test("a line that is cut for a moment costs nothing", async (t) => {
    const { add } = scene(t);
    const line = await CutLine.to(servers.connectString);
    t.after(() => line.close());
    const a = await add("a:1", { connect: line.connectString, sessionTimeoutMs: 10_000 });
    const b = await add("b:1");
    await until("the first is chosen", () => a.leads);
    const count = (kind: ElectionEvent["kind"]) =>
      a.events.filter((event) => event.kind === kind).length;
    for (let round = 1; round <= 5; round++) {
      line.cut();
      await until("it noticed", () => count("zookeeperDisconnected") === round);
      assert.ok(a.leads, "while its session lives nobody else can be chosen");
      line.mend();
      await until("it is back", () => count("zookeeperConnected") === round + 1);
    }
    assert.ok(a.leads);
    assert.deepEqual([...a.told, ...b.told], ["chosen"]);
  });

  test("who resigns stands again behind the others", async (t) => {
    const { add, leaderPath, electionPath } = scene(t);
    const a = await add("a:1");
    await until("the first is chosen", () => a.leads);
    await a.election.announce();
    await a.election.resign();
    await until("alone it is chosen again", () => a.leads);
    const b = await add("b:1");
    const c = await add("c:1");
    await a.election.announce();
    const resigned = a.election.resign();
    assert.ok(!a.leads, "at once");
    await resigned;
    await until("the next one is chosen", () => b.leads);
    assert.deepEqual(a.told, ["chosen", "deposed: it resigned", "chosen", "deposed: it resigned"]);
    await until("it stands", () => c.seen.length === 3);
    assert.deepEqual(c.seen, ["b:1 chosen", "c:1 self", "a:1"]);
    assert.equal((await readMasters(keeper, { leaderPath, electionPath })).leader, null);
    await c.election.resign(); // who was not chosen is no less behind
    await until("it stands again", () => b.seen.at(-1) === "c:1" && b.seen.length === 3);
  });

  test("whose node somebody removes is deposed, and stands again", async (t) => {
    const { add, electionPath } = scene(t);
    const a = await add("a:1");
    const b = await add("b:1");
    await until("the first is chosen", () => a.leads);
    const [first = ""] = [...(await keeper.getChildren(electionPath)).names].sort((x, y) =>
      x.slice(-10).localeCompare(y.slice(-10)),
    );
    await keeper.delete(`${electionPath}/${first}`);
    await until("the next one is chosen", () => b.leads);
    await until("it stands again", () => b.seen.join() === "b:1 self chosen,a:1");
    assert.match(a.told[1] ?? "", /somebody removed its node/);
  });

  test("what is in the way of being known is told, and tried again until it is gone", async (t) => {
    const { add, leaderPath } = scene(t);
    const a = await add("a:1");
    await until("it is chosen", () => a.leads);
    // A node with a child cannot be removed.
    await keeper.ensurePath(`${leaderPath}/before:1/below`);
    const announcing = a.election.announce();
    await until("it is told", () => a.events.some(({ kind }) => kind === "electionFailing"));
    const failing = a.events.find((event) => event.kind === "electionFailing");
    assert.match(failing?.reason ?? "", /NOTEMPTY/);
    await keeper.delete(`${leaderPath}/before:1/below`);
    await announcing;
    assert.deepEqual((await keeper.getChildren(leaderPath)).names, ["a:1"]);
    // Deposed meanwhile, it is not tried for ever.
    await keeper.ensurePath(`${leaderPath}/before:1/below`);
    const refused = assert.rejects(a.election.announce(), /is chosen no more/);
    await a.election.close();
    await refused;
  });

  test("who was deposed and does not know it yet can't pass for the leader", async (t) => {
    const { add, electionPath, leaderPath } = scene(t);
    await keeper.ensurePath(`${electionPath}-removals`);
    const a = await add("a:1");
    for (let round = 1; round <= 30; round++) {
      await until("it is chosen", () => a.leads && a.told.length === 2 * round - 1);
      const [node = ""] = (await keeper.getChildren(electionPath)).names;
      const removal = keeper.multi([
        { kind: "delete", path: `${electionPath}/${node}`, version: -1 },
        // Only to learn the transaction's number.
        {
          kind: "setData",
          path: `${electionPath}-removals`,
          data: new Uint8Array(),
          version: -1,
        },
      ]);
      const announcing = a.election.announce().catch(() => "refused");
      const [, removed] = await removal;
      assert.ok(removed?.kind === "set");
      await announcing;
      const known = await keeper.exists(`${leaderPath}/a:1`);
      if (known !== null) assert.ok(known.createdZxid < removed.stat.modifiedZxid, "not after it");
      await until("nobody is sent to it", async () => {
        return (await keeper.getChildren(leaderPath)).names.length === 0;
      });
    }
  });

  test("whichever answer is lost, there is one node in the end", async (t) => {
    const { add, electionPath } = scene(t);
    const line = await CutLine.to(servers.connectString);
    t.after(() => line.close());
    for (let answers = 0; answers < 12; answers++) {
      line.cutAfter(answers);
      const a = await add("a:1", { connect: line.connectString, sessionTimeoutMs: 20_000 });
      await until("it is chosen", () => a.leads);
      assert.equal((await keeper.getChildren(electionPath)).names.length, 1);
      await a.election.close();
      await until("its node is gone", async () => {
        return (await keeper.getChildren(electionPath)).names.length === 0;
      });
    }
  });

  test("whichever answer is lost while it stands anew, there is one node in the end", async (t) => {
    const { add, electionPath } = scene(t);
    const line = await CutLine.to(servers.connectString);
    t.after(() => line.close());
    const a = await add("a:1", { connect: line.connectString, sessionTimeoutMs: 20_000 });
    for (let answers = 0; answers < 14; answers++) {
      await until("it is chosen", () => a.leads);
      await a.election.announce();
      line.cutAfter(answers);
      await a.election.resign();
      assert.equal((await keeper.getChildren(electionPath)).names.length, 1);
    }
  });

  test("a machine that was suspended knows by its wall clock that its session is over", async (t) => {
    const { add } = scene(t);
    const real = nodeWorld();
    let sleptMs = 0;
    const world: World = {
      ...real,
      clock: { ...real.clock, wallMs: () => real.clock.wallMs() + sleptMs },
    };
    const a = await add("a:1", { world });
    await until("it is chosen", () => a.leads);
    sleptMs = SESSION_MS;
    assert.ok(!a.election.isChosenFor(0));
    await until("it is deposed", () => a.told.length > 1);
    assert.match(a.told[1] ?? "", /^deposed: its ZooKeeper session ended/);
    await until("it stands again", () => a.leads);
  });

  test("S1-13: without ZooKeeper a start fails in time, and says what was tried", async () => {
    const lonely = new Master({
      connect: "127.0.0.1:1",
      address: "a:1",
      electionPath: "/election",
      leaderPath: "/leader",
      connectionTimeoutMs: 300,
    });
    await assert.rejects(
      lonely.start(),
      /ZooKeeper \(127\.0\.0\.1:1\) does not answer within 300 ms: .*no server was reached/,
    );
    assert.deepEqual(lonely.told, []);
  });

  test("S1-13: a start succeeds when ZooKeeper comes within the time", async (t) => {
    const { add } = scene(t);
    const line = await CutLine.to(servers.connectString);
    t.after(() => line.close());
    line.cut();
    const starting = add("a:1", { connect: line.connectString });
    await delay(300);
    line.mend();
    const a = await starting;
    await until("it is chosen", () => a.leads);
  });
});

describe("election on three ZooKeeper servers", { skip }, () => {
  let servers: ZooKeeperServers;
  before(async () => {
    servers = await ZooKeeperServers.start(3);
  });
  after(() => servers?.stop());

  test("S1-5 S1-19: while servers are killed and stopped there is never more than one leader, and always one again", async (t) => {
    const paths = { electionPath: "/alluxio/election", leaderPath: "/alluxio/leader" };
    const masters = ["a:1", "b:1", "c:1"].map(
      (address) => new Master({ connect: servers.connectString, address, ...paths }),
    );
    t.after(() => Promise.all(masters.map(({ election }) => election.close())));
    for (const master of masters) await master.start();
    let isOver = false;
    let mostLeaders = 0;
    const watching = (async () => {
      while (!isOver) {
        mostLeaders = Math.max(mostLeaders, masters.filter(({ leads }) => leads).length);
        await delay(1);
      }
    })();
    try {
      for (const number of servers.numbers)
        for (const signal of ["SIGKILL", "SIGSTOP"] as const) {
          await until("one leads", () => masters.some(({ leads }) => leads));
          servers.signal(number, signal);
          await delay(2 * SESSION_MS);
          if (signal === "SIGKILL") await servers.restart(number);
          else servers.signal(number, "SIGCONT");
          await servers.untilAllServe();
        }
      await until("one leads", () => masters.some(({ leads }) => leads));
    } finally {
      isOver = true;
      await watching;
    }
    assert.equal(mostLeaders, 1);
    const keeper = new ZooKeeper({
      connect: servers.connectString,
      sessionTimeoutMs: 5000,
      world: nodeWorld(),
    });
    t.after(() => keeper.close());
    await until("the old nodes are gone", async () => {
      try {
        return (await keeper.getChildren(paths.electionPath)).names.length === 3;
      } catch (error) {
        if (isZooKeeperError(error, "CONNECTIONLOSS")) return false;
        throw error;
      }
    });
  });
});
