import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { EXIT, isRockpoolError } from "../common/errors.ts";
import { nodeWorld } from "../world/node_world.ts";
import { type JournalFileSystem, nodeFileSystem } from "./file_system.ts";
import { Cluster, crc32c, type Node, rest, until } from "./journal_fixture.ts";
import { PeerPins } from "./journal_folder.ts";
import type { JournalEvent } from "./journal_protocol.ts";
import type { CreateTransport } from "./peer_transport.ts";
import { tcpTransport } from "./raft_transport.ts";
import { inProcess } from "./thread_port.ts";

function voters({ journal }: Node): string[] {
  const members = journal?.status().members ?? [];
  return members.filter(({ standing }) => standing === "voter").map(({ address }) => address);
}

function eventOf<K extends JournalEvent["kind"]>(node: Node, kind: K) {
  return node.events.find(
    (event): event is Extract<JournalEvent, { kind: K }> => event.kind === kind,
  );
}

async function untilVoters(nodes: readonly Node[], addresses: readonly string[]): Promise<void> {
  const wanted = [...addresses].sort().join();
  await until(`the voters are ${wanted}`, () =>
    nodes.every((node) => voters(node).sort().join() === wanted) ? true : undefined,
  );
}

test("a master whose disk was wiped comes back as another member, with everything", async () => {
  const cluster = await Cluster.started(3);
  const leader = await cluster.leader();
  const [victim] = rest(cluster, leader);
  assert.ok(victim);
  const addresses = cluster.nodes.map(({ address }) => address);
  const words = Array.from({ length: 50 }, (_, at) => `word ${at}`);
  await Promise.all(words.map((word) => cluster.propose(word)));
  const oldId = leader.journal
    ?.status()
    .members.find(({ address }) => address === victim.address)?.id;
  await cluster.kill(victim);
  await cluster.format(victim);
  await cluster.start(victim);
  await until("it is a voter under another id", () => {
    const found = leader.journal?.status().members.find((each) => each.address === victim.address);
    return found?.standing === "voter" && found.id !== oldId ? true : undefined;
  });
  await untilVoters(cluster.nodes, addresses);
  await cluster.settled([...words, await word(cluster, "after")]);
  assert.deepEqual(
    leader.events.flatMap((event) => (event.kind === "joining" ? [event.step] : [])),
    ["removeOld", "addLearner", "addVoter"],
  );
  // It counts: the two others need not both be there any more.
  const [, other] = rest(cluster, leader);
  assert.ok(other);
  await cluster.kill(other);
  await cluster.propose("with the new member");
  await cluster.kill(victim);
  await cluster.start(victim);
  await cluster.propose("after it was restarted under its id");
  await cluster.stop();
});

async function word(cluster: Cluster, text: string): Promise<string> {
  await cluster.propose(text);
  return text;
}

test("a master that starts with the addresses of all others joins them; addMember() waits for it", async () => {
  const cluster = await Cluster.started(1);
  const leader = await cluster.leader();
  await cluster.propose("before");
  const added = await cluster.added();
  const waiting = leader.journal?.addMember(added.address, 10_000) ?? Promise.resolve();
  await cluster.start(added);
  await waiting;
  await untilVoters(
    cluster.nodes,
    cluster.nodes.map(({ address }) => address),
  );
  assert.equal(eventOf(added, "identitySettled")?.standing, "joiner");
  await cluster.propose("after");
  await cluster.settled(["before", "after"]);
  const again = leader.journal?.addMember(added.address, 1000) ?? Promise.resolve();
  await assert.rejects(again, (error) => isRockpoolError(error, "ALREADY_EXISTS"));
  const nobody = leader.journal?.addMember("127.0.0.1:1", 50) ?? Promise.resolve();
  await assert.rejects(nobody, (error) => isRockpoolError(error, "DEADLINE_EXCEEDED"));
  // Its configuration names both; the other one's names itself alone, which is told and no error.
  await cluster.kill(leader);
  await cluster.start(leader, undefined, undefined, { addresses: [leader.address] });
  assert.ok(eventOf(leader, "configurationDiffers"));
  await cluster.propose("once more");
  await cluster.stop();
});

test("removeMember() of the leader hands over, and the removed one ends", async () => {
  const cluster = await Cluster.started(3);
  const leader = await cluster.leader();
  await cluster.propose("before");
  await leader.journal?.removeMember(leader.address);
  const fatal = await until("it is told", () => eventOf(leader, "fatal"));
  assert.equal(fatal.exitCode, EXIT.expelled);
  assert.match(fatal.remedy, /format/);
  await cluster.kill(leader);
  const others = rest(cluster, leader);
  await untilVoters(
    others,
    others.map(({ address }) => address),
  );
  await cluster.propose("after");
  // Started again it learns the same, from those that know.
  leader.events.length = 0;
  await cluster.start(leader);
  const refused = await until("it is told again", () => eventOf(leader, "fatal"));
  assert.equal(refused.exitCode, EXIT.expelled);
  await cluster.kill(leader);
  await cluster.stop();
});

test("a leader that removed itself hands over before its peers let go of it", async () => {
  const cluster = await Cluster.started(3);
  const leader = await cluster.leader();
  const others = rest(cluster, leader);
  // Left to themselves they would elect nobody for longer than this test waits.
  const timings = { electionMinMs: 30_000, electionMaxMs: 40_000 };
  for (const node of others) {
    await cluster.kill(node);
    await cluster.start(node, undefined, undefined, { timings });
    await until("it follows", () => node.journal?.status().leader !== null || undefined);
  }
  await cluster.propose("before");
  // Clients go on, so that the heir never has all there is when the removal is committed.
  let isOver = false;
  const writer = (async () => {
    while (!isOver) await cluster.propose("meanwhile");
  })();
  await leader.journal?.removeMember(leader.address);
  await until("another one serves", () =>
    others.some(({ journal }) => journal?.isServing() === true) ? true : undefined,
  );
  isOver = true;
  await writer;
  await until("the removed one is told", () => eventOf(leader, "fatal"));
  await cluster.kill(leader);
  await cluster.propose("after");
  await cluster.stop();
});

test("removeMember() says why it does not", async () => {
  const cluster = await Cluster.started(3);
  const leader = await cluster.leader();
  const [first, second] = rest(cluster, leader);
  assert.ok(first && second);
  const attempt = (node: Node, address: string) =>
    node.journal?.removeMember(address) ?? Promise.resolve();
  await assert.rejects(attempt(leader, "nobody:1"), (e) => isRockpoolError(e, "NOT_FOUND"));
  await assert.rejects(attempt(first, second.address), (e) => isRockpoolError(e, "UNAVAILABLE"));
  await cluster.kill(second);
  await until("it is seen to be gone", () =>
    leader.journal?.status().members.some((each) => !each.isAvailable) ? true : undefined,
  );
  await assert.rejects(attempt(leader, first.address), (error) => {
    assert.ok(isRockpoolError(error, "FAILED_PRECONDITION"), String(error));
    assert.match(error.message, /stand still/);
    return true;
  });
  // The one that is gone may go.
  await attempt(leader, second.address);
  await attempt(leader, first.address);
  await assert.rejects(attempt(leader, leader.address), /only member/);
  await cluster.propose("alone");
  await cluster.stop();
});

/** Loses all entries on their way to here. */
function withoutEntries(create: CreateTransport): CreateTransport {
  return (options, handlers) =>
    create(options, {
      ...handlers,
      onMessage: (message) => {
        if (message.kind !== "appendEntries") handlers.onMessage(message);
      },
    });
}

test("a joiner that is removed before its log tells it that it was a member is told so, at once and after a restart", async () => {
  const cluster = await Cluster.started(1);
  const leader = await cluster.leader();
  await cluster.propose("before");
  const added = await cluster.added();
  const createTransport = withoutEntries(tcpTransport(crc32c, nodeWorld()));
  await cluster.start(added, inProcess({ crc32c, createTransport }));
  await until("it knows that it is taken in", () =>
    new PeerPins(nodeFileSystem(), added.folder).takenInAsOf === null ? undefined : true,
  );
  await until("it has heard the leader", () =>
    (added.journal?.status().term ?? 0) > 0 ? true : undefined,
  );
  assert.ok(!added.journal?.status().members.some(({ isSelf }) => isSelf));
  await leader.journal?.removeMember(added.address);
  const fatal = await until("it is told", () => eventOf(added, "fatal"));
  assert.equal(fatal.exitCode, EXIT.expelled);
  await cluster.kill(added);
  added.events.length = 0;
  await cluster.start(added);
  const again = await until("it is told again", () => eventOf(added, "fatal"));
  assert.equal(again.exitCode, EXIT.expelled);
  assert.match(again.remedy, /init format/);
  await cluster.stop();
});

test("two masters that were wiped wait for the third, which knows that they had a journal", async () => {
  const cluster = await Cluster.started(3);
  const leader = await cluster.leader();
  await cluster.propose("before");
  const wiped = rest(cluster, leader);
  for (const node of wiped) {
    await cluster.kill(node);
    await cluster.format(node);
    node.events.length = 0;
  }
  await Promise.all(wiped.map((node) => cluster.start(node)));
  await until("they know that they are no founders", () =>
    wiped.every((node) => eventOf(node, "identitySettled")?.standing === "joiner")
      ? true
      : undefined,
  );
  await until("the third one leads no more", () =>
    cluster.nodes.every(({ journal }) => journal?.isServing() === false) ? true : undefined,
  );
  await cluster.stop();
});

test("masters of one cluster start one after the other, and form it", async () => {
  const cluster = await Cluster.make(3);
  const [first, second, third] = cluster.nodes;
  assert.ok(first && second && third);
  await cluster.start(first);
  assert.ok(eventOf(first, "undecided"));
  await cluster.start(second);
  await cluster.propose("by two");
  await cluster.start(third);
  await cluster.settled(["by two"]);
  await untilVoters(
    cluster.nodes,
    cluster.nodes.map(({ address }) => address),
  );
  await cluster.kill(first);
  await cluster.propose("by two others");
  await cluster.stop();
});

test("a disk that does not take what is to be noted of a peer ends the master as a disk fault, and keeps nobody out", async () => {
  for (const isBorn of [false, true]) {
    const cluster = await Cluster.make(3);
    const [victim, ...others] = cluster.nodes;
    assert.ok(victim);
    if (isBorn) {
      // Two found nothing without the third, which is wiped of its notes afterwards.
      await Promise.all(cluster.nodes.map((node) => cluster.start(node)));
      await cluster.propose("one");
      for (const node of cluster.nodes) await cluster.kill(node);
      rmSync(join(victim.folder, "peers.json"));
    }
    const real = nodeFileSystem();
    const broken: JournalFileSystem = {
      ...real,
      replaceFileSync(path, bytes) {
        if (!path.endsWith("peers.json")) return real.replaceFileSync(path, bytes);
        throw Object.assign(new Error("Fault EIO"), { code: "EIO" });
      },
    };
    for (const node of others) await cluster.start(node);
    await cluster.start(victim, inProcess({ crc32c, fileSystem: broken })).catch(() => {});
    const fatal = await until("it ends", () => eventOf(victim, "fatal"));
    assert.equal(fatal.exitCode, EXIT.journalIo);
    assert.match(fatal.message, /writing of .*peers\.json failed \(Fault EIO\)/);
    for (const node of others) assert.equal(eventOf(node, "peerWiped"), undefined);
    await cluster.stop();
  }
});
