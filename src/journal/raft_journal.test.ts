import assert from "node:assert/strict";
import { mkdtempSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";
import { EXIT, isRockpoolError } from "../common/errors.ts";
import { nodeWorld } from "../world/node_world.ts";
import {
  Cluster,
  crc32c,
  encoder,
  type Fault,
  faulty,
  Memory,
  rest,
  root,
  SEGMENT_BYTES,
  until,
} from "./journal_fixture.ts";
import { memberIdOf } from "./member_ids.ts";
import { RaftJournal } from "./raft_journal.ts";
import { inProcess, workerThread } from "./thread_port.ts";

for (const size of [1, 3, 5])
  test(`RaftJournal of ${size} answers each proposal with the result of its own entry`, async () => {
    const cluster = await Cluster.started(size);
    await cluster.leader();
    const words = Array.from({ length: 100 }, (_, at) => `word ${at}`);
    const results = await Promise.all(words.map((word) => cluster.propose(word)));
    assert.deepEqual(
      results,
      words.map((word) => `done ${word}`),
    );
    await cluster.settled(words);
    for (const { machine } of cluster.nodes) assert.deepEqual(machine.words(), words);
    await cluster.stop();
  });

test("RaftJournal loses no acknowledged entry when its leader is killed again and again", async () => {
  const cluster = await Cluster.started(3);
  const acknowledged: string[] = [];
  let isOver = false;
  const clients = Array.from({ length: 8 }, async (_, client) => {
    for (let count = 0; !isOver; count++) {
      const word = `client ${client} word ${count}`;
      await cluster.propose(word);
      acknowledged.push(word);
    }
  });
  for (let round = 0; round < 4; round++) {
    const enough = acknowledged.length + 100;
    await until("clients make progress", () => (acknowledged.length >= enough ? true : undefined));
    const leader = await cluster.leader();
    await cluster.kill(leader);
    await cluster.leader();
    // Every other time with an empty store, which is built anew from the log.
    if (round % 2 === 0) leader.machine = new Memory();
    await cluster.start(leader);
  }
  isOver = true;
  await Promise.all(clients);
  await cluster.settled(acknowledged);
  const [first, ...others] = cluster.nodes.map(({ machine }) => machine.applied);
  for (const other of others) {
    const length = Math.min(other.length, first?.length ?? 0);
    assert.deepEqual(other.slice(0, length), first?.slice(0, length));
  }
  const died = cluster.nodes.flatMap(({ events }) => events).filter((e) => e.kind === "peerDied");
  assert.ok(died.length > 0, "closed and refused connections are taken for what they are");
  await cluster.stop();
});

test("RaftJournal rejects whatever waits with UNAVAILABLE when it loses its quorum", async () => {
  const cluster = await Cluster.started(3);
  const leader = await cluster.leader();
  await cluster.propose("before");
  for (const node of rest(cluster, leader)) await cluster.kill(node);
  const waiting = [
    leader.journal?.propose(encoder.encode("lost")),
    leader.journal?.propose(encoder.encode("lost too")),
    leader.journal?.readBarrier(),
  ];
  for (const promise of waiting)
    await assert.rejects(promise ?? Promise.resolve(), (e) => isRockpoolError(e, "UNAVAILABLE"));
  assert.equal(leader.journal?.isServing(), false);
  assert.deepEqual(
    leader.leadership.map(({ kind }) => kind),
    ["gained", "lost"],
  );
  const late = leader.journal?.propose(encoder.encode("late")) ?? Promise.resolve("");
  await assert.rejects(late, (e) => isRockpoolError(e, "UNAVAILABLE"));
  await cluster.stop();
});

test("RaftJournal readBarrier() holds every acknowledged entry, and is for the leader alone", async () => {
  const cluster = await Cluster.started(3);
  const leader = await cluster.leader();
  for (let round = 0; round < 20; round++) {
    await cluster.propose(`round ${round}`);
    await leader.journal?.readBarrier();
    assert.equal(leader.machine.words().at(-1), `round ${round}`);
  }
  const [follower] = rest(cluster, leader);
  const refused = follower?.journal?.readBarrier() ?? Promise.resolve();
  await assert.rejects(refused, (e) => isRockpoolError(e, "UNAVAILABLE"));
  await cluster.stop();
});

test("RaftJournal applies after a restart what it knew to be committed, without any peer", async () => {
  const cluster = await Cluster.started(3);
  const words = Array.from({ length: 700 }, (_, at) => `word ${at}`);
  await Promise.all(words.map((word) => cluster.propose(word)));
  await cluster.settled(words);
  const [node] = cluster.nodes;
  assert.ok(node);
  // The commit index reaches the disk when the log falls idle; a close flushes it.
  for (const each of cluster.running) {
    await each.journal?.close();
    each.journal = null;
  }
  node.machine = new Memory();
  await cluster.start(node);
  await until("the log is applied", () =>
    node.machine.applied.length === words.length ? true : undefined,
  );
  assert.deepEqual([...node.machine.words()].sort(), [...words].sort());
  assert.equal(node.journal?.isServing(), false);
  await cluster.stop();
});

test("RaftJournal hands over on request and when it closes", async () => {
  const cluster = await Cluster.started(3);
  const leader = await cluster.leader();
  const [heir] = rest(cluster, leader);
  assert.ok(heir);
  await leader.journal?.transferLeadership(memberIdOf(heir.address));
  assert.equal(await cluster.leader(), heir);
  assert.equal(
    heir.journal?.status().members.find(({ isLeader }) => isLeader)?.address,
    heir.address,
  );
  const words = ["after the transfer"];
  await cluster.propose("after the transfer");
  await heir.journal?.close();
  heir.journal = null;
  const next = await cluster.leader();
  assert.notEqual(next, heir);
  const died = next.events.findIndex((event) => event.kind === "peerDied");
  const led = next.events.findIndex(
    (event) => event.kind === "roleChanged" && event.role === "leader",
  );
  assert.ok(led >= 0 && (died < 0 || led < died), "nobody had to die for it");
  await cluster.settled(words);
  await cluster.stop();
});

test("RaftJournal goes on when strangers send anything to its port", async () => {
  const cluster = await Cluster.started(1);
  const node = await cluster.leader();
  const port = Number(node.address.split(":")[1]);
  const garbage = [
    new Uint8Array(64).fill(0xff),
    encoder.encode("GET / HTTP/1.1\r\n\r\nand so on"),
    new Uint8Array(20),
    new Uint8Array(100_000).fill(1),
  ];
  for (const bytes of garbage) {
    const socket = connect(port, "127.0.0.1");
    await new Promise<void>((resolve) => {
      // A reset is as good an answer as an end.
      socket.on("error", () => {});
      socket.on("close", () => resolve());
      socket.write(bytes);
      socket.resume();
    });
  }
  const bad = node.events.filter((event) => event.kind === "badConnection");
  assert.equal(bad.length, garbage.length);
  assert.equal(await cluster.propose("alive"), "done alive");
  await cluster.stop();
});

test("RaftJournal refuses a folder that is not formatted, open elsewhere, or of other addresses", async () => {
  const cluster = await Cluster.started(1);
  const node = await cluster.leader();
  const attempt = (changes: { folder?: string; addresses?: readonly string[] }) =>
    new RaftJournal<string>({
      folder: changes.folder ?? node.folder,
      address: node.address,
      addresses: changes.addresses ?? [node.address],
      bindHost: "127.0.0.1",
      bindPort: Number(node.address.split(":")[1]),
      stateMachine: new Memory(),
      world: nodeWorld(),
      connect: inProcess({ crc32c }),
      onEvent: () => {},
      segmentBytes: SEGMENT_BYTES,
    }).start();
  const refused =
    (message: RegExp, remedy: RegExp, isBusy = false) =>
    (error: unknown) => {
      const status = isBusy ? "UNAVAILABLE" : "FAILED_PRECONDITION";
      assert.ok(isRockpoolError(error, status), String(error));
      assert.match(error.message, message);
      assert.match(error.remedy, remedy);
      return true;
    };
  const empty = mkdtempSync(join(root, "empty-"));
  await assert.rejects(attempt({ folder: empty }), refused(/never formatted/, /init format/));
  await assert.rejects(attempt({}), refused(/is open in process/, /Stop that process/, true));
  await cluster.propose("one");
  await cluster.kill(node);
  await assert.rejects(
    attempt({ addresses: ["127.0.0.1:1"] }),
    refused(/do not name this master/, /addresses/),
  );
  writeFileSync(join(node.folder, "lock"), "4194305 17");
  await cluster.start(node);
  assert.ok(node.events.some((event) => event.kind === "lockTakenOver"));
  await cluster.stop();
});

test("RaftJournal steps back while its disk is full, and comes again when there is room", async () => {
  const fault: { code: string | null } = { code: null };
  const cluster = await Cluster.make(1);
  const [node] = cluster.nodes;
  assert.ok(node);
  await cluster.start(node, inProcess({ crc32c, fileSystem: faulty(fault) }));
  await cluster.propose("before");
  fault.code = "ENOSPC";
  const refused = node.journal?.propose(encoder.encode("refused")) ?? Promise.resolve("");
  await assert.rejects(refused, (error) => {
    assert.ok(isRockpoolError(error, "RESOURCE_EXHAUSTED"), String(error));
    assert.match(error.message, /wal-\d{16}/);
    return true;
  });
  assert.equal(node.journal?.isServing(), false);
  fault.code = null;
  assert.equal(await cluster.propose("after"), "done after");
  assert.deepEqual(
    node.machine.words().filter((word) => word !== "refused"),
    ["before", "after"],
  );
  assert.ok(node.events.some((event) => event.kind === "writableAgain"));
  await cluster.stop();
});

test("RaftJournal reads nothing while its disk says that it is full", async () => {
  const fault: Fault = { code: null, freeBytes: 0 };
  const cluster = await Cluster.make(1);
  const [node] = cluster.nodes;
  assert.ok(node);
  await cluster.start(node, inProcess({ crc32c, fileSystem: faulty(fault) }));
  await cluster.propose("before");
  fault.code = "ENOSPC";
  const refused = node.journal?.propose(encoder.encode("refused")) ?? Promise.resolve("");
  await assert.rejects(refused, (error) => isRockpoolError(error, "RESOURCE_EXHAUSTED"));
  const readCount = fault.readCount ?? 0;
  fault.askedCount = 0;
  await until("it has looked for room twice", () => (fault.askedCount ?? 0) >= 2 || undefined);
  assert.equal(fault.readCount, readCount);
  fault.code = null;
  fault.freeBytes = SEGMENT_BYTES;
  assert.equal(await cluster.propose("after"), "done after");
  await cluster.stop();
});

test("RaftJournal asks for the end of the process when its disk fails, and loses nothing", async () => {
  const fault: { code: string | null } = { code: null };
  const cluster = await Cluster.make(1);
  const [node] = cluster.nodes;
  assert.ok(node);
  await cluster.start(node, inProcess({ crc32c, fileSystem: faulty(fault) }));
  await cluster.propose("before");
  fault.code = "EIO";
  const refused = node.journal?.propose(encoder.encode("refused")) ?? Promise.resolve("");
  await assert.rejects(refused, (error) => isRockpoolError(error, "UNAVAILABLE"));
  const fatal = await until("it says so", () =>
    node.events.find((event) => event.kind === "fatal"),
  );
  assert.equal(fatal.kind === "fatal" && fatal.exitCode, EXIT.journalIo);
  await cluster.kill(node);
  node.machine = new Memory();
  await cluster.start(node);
  assert.equal(await cluster.propose("after"), "done after");
  assert.ok(node.machine.words().includes("before"));
  await cluster.stop();
});

test("RaftJournal runs its other half in a worker thread", async () => {
  const outfile = join(root, "journal_thread.mjs");
  await build({
    entryPoints: ["src/journal_thread_main.ts"],
    outfile,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    loader: { ".wasm": "binary" },
  });
  const connectThread = workerThread(pathToFileURL(outfile), { kernelFlavour: "wasm" });
  const cluster = await Cluster.make(3);
  await Promise.all(cluster.nodes.map((node) => cluster.start(node, connectThread)));
  const words = Array.from({ length: 50 }, (_, at) => `word ${at}`);
  const results = await Promise.all(words.map((word) => cluster.propose(word)));
  assert.deepEqual(
    results,
    words.map((word) => `done ${word}`),
  );
  await cluster.settled(words);
  for (const node of cluster.running) {
    await node.journal?.close();
    node.journal = null;
  }
  for (const { events } of cluster.nodes)
    assert.ok(!events.some((event) => event.kind === "fatal"));
  await cluster.stop();
});
