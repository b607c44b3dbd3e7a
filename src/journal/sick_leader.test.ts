import assert from "node:assert/strict";
import { test } from "node:test";
import { isRockpoolError } from "../common/errors.ts";
import { nodeWorld } from "../world/node_world.ts";
import type { World } from "../world/ports.ts";
import { Cluster, crc32c, encoder, faulty, type Node, rest, until } from "./journal_fixture.ts";
import { LeaderHealth } from "./leader_health.ts";
import { inProcess } from "./thread_port.ts";

/** Timers of a main thread that can be hung: what comes due meanwhile is lost. */
function hangingWorld(): World & { isHung: boolean } {
  const world = nodeWorld();
  const hanging = {
    ...world,
    isHung: false,
    timers: {
      after: (delayMs: number, act: () => void) =>
        world.timers.after(delayMs, () => {
          if (!hanging.isHung) act();
        }),
      soon: world.timers.soon,
    },
  };
  return hanging;
}

function steppedAside({ events }: Node, part: string): boolean {
  return events.some((event) => event.kind === "steppingAside" && event.part === part);
}

test("a leader whose main thread hangs hands over", async () => {
  const cluster = await Cluster.make(3);
  const worlds = cluster.nodes.map(hangingWorld);
  await Promise.all(
    cluster.nodes.map((node, at) => cluster.start(node, inProcess({ crc32c }), worlds[at])),
  );
  const leader = await cluster.leader();
  await cluster.propose("before");
  const world = worlds[cluster.nodes.indexOf(leader)];
  assert.ok(world);
  world.isHung = true;
  await until("another one serves", () =>
    rest(cluster, leader).find(({ journal }) => journal?.isServing()),
  );
  assert.ok(steppedAside(leader, "mainThread"));
  assert.equal(await cluster.propose("after"), "done after");
  await cluster.stop();
});

test("a leader whose disk hangs hands over, and what waited at it ends", async () => {
  const cluster = await Cluster.make(3);
  const faults = cluster.nodes.map((): { code: null; hang: Promise<void> | null } => ({
    code: null,
    hang: null,
  }));
  await Promise.all(
    cluster.nodes.map((node, at) => {
      const fault = faults[at];
      assert.ok(fault);
      return cluster.start(node, inProcess({ crc32c, fileSystem: faulty(fault) }));
    }),
  );
  const leader = await cluster.leader();
  await cluster.propose("before");
  const fault = faults[cluster.nodes.indexOf(leader)];
  assert.ok(fault);
  let heal = () => {};
  fault.hang = new Promise((resolve) => {
    heal = resolve;
  });
  const waiting = leader.journal?.propose(encoder.encode("waiting")) ?? Promise.resolve("");
  await assert.rejects(waiting, (error) => isRockpoolError(error, "UNAVAILABLE"));
  assert.ok(steppedAside(leader, "disk"));
  assert.equal(await cluster.propose("after"), "done after");
  fault.hang = null;
  heal();
  await cluster.settled(["before", "after", "waiting"]);
  await cluster.stop();
});

test("a member of several whose disk is full sends its clients on to the others", async () => {
  const cluster = await Cluster.make(3);
  const faults = cluster.nodes.map((): { code: string | null } => ({ code: null }));
  await Promise.all(
    cluster.nodes.map((node, at) =>
      cluster.start(node, inProcess({ crc32c, fileSystem: faulty(faults[at] ?? { code: null }) })),
    ),
  );
  const leader = await cluster.leader();
  await cluster.propose("before");
  const fault = faults[cluster.nodes.indexOf(leader)];
  assert.ok(fault);
  fault.code = "ENOSPC";
  const refused = leader.journal?.propose(encoder.encode("unsure")) ?? Promise.resolve("");
  await assert.rejects(refused, (error) => {
    assert.ok(isRockpoolError(error, "UNAVAILABLE"), String(error));
    assert.match(error.message, /wal-\d{16}/);
    return true;
  });
  assert.equal(await cluster.propose("after"), "done after");
  fault.code = null;
  await cluster.settled(["before", "after"]);
  await cluster.stop();
});

test("RaftJournal closes while its leader sends it entries all the time", async () => {
  const cluster = await Cluster.started(3);
  let isOver = false;
  const clients = Array.from({ length: 32 }, async (_, client) => {
    for (let count = 0; !isOver; count++) await cluster.propose(`client ${client} word ${count}`);
  });
  const leader = await cluster.leader();
  const [follower] = rest(cluster, leader);
  assert.ok(follower);
  let isClosed = false;
  const closing = follower.journal?.close().then(() => {
    isClosed = true;
  });
  const twice = follower.journal?.close();
  follower.journal = null;
  // The clients go on until then: entries never cease to come.
  await until("it is closed", () => isClosed || undefined);
  await Promise.all([closing, twice]);
  isOver = true;
  await Promise.all(clients);
  await cluster.stop();
});

test("LeaderHealth finds what stands still, tries again soon, and rests after a hand-over", () => {
  const health = new LeaderHealth();
  const look = (nowMs: number, disk: number | null, mainThread: number, isLeader = true) =>
    health.ailment({ disk, mainThread }, isLeader, nowMs)?.part ?? null;
  assert.equal(look(0, 1, 1), null);
  assert.equal(look(1000, 1, 2), null);
  assert.equal(look(1001, 1, 3), "disk");
  health.handingOver(1001);
  assert.equal(look(3000, 1, 4), null, "it was asked just now");
  assert.equal(look(3001, 1, 5), "disk", "the heir did not take it");
  health.handingOver(3001);
  assert.equal(look(3100, 1, 6, false), null);
  assert.equal(look(33_000, 1, 6), null, "not round and round");
  assert.equal(look(33_100, null, 7), null, "an idle disk is well");
  assert.equal(look(34_601, null, 7), "mainThread");
  health.forgive(40_000);
  assert.equal(look(40_001, null, 7), null, "the observer slept itself");
});
