/**
 * Our ZooKeeper client against real servers: operations, watches, sessions through kills and stops.
 * @module
 */
import assert from "node:assert/strict";
import { type ChildProcess, fork } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { build } from "esbuild";
import { nodeWorld } from "../../src/world/node_world.ts";
import { CREATOR_ALL, isZooKeeperError } from "../../src/zookeeper/protocol.ts";
import type { SessionState } from "../../src/zookeeper/session.ts";
import type { WatchEvent } from "../../src/zookeeper/watches.ts";
import { ZooKeeper } from "../../src/zookeeper/zookeeper.ts";
import { ZooKeeperServers } from "./zookeeper_servers.ts";

const why = ZooKeeperServers.missing();
if (why !== null && process.env["ROCKPOOL_REQUIRE_JAVA"] === "1")
  throw new Error(`These tests need a JDK and Maven: ${why}`);
const skip = why === null ? false : `NOT RUN: ${why}`;

/** Ten by hand; where all tests run there is less time. */
const ROUNDS = Number(process.env["ROCKPOOL_ROUNDS"] ?? 10);
const SESSION_MS = 1500;
const CONDITION_WITHIN_MS = 30_000;
const empty = new Uint8Array();
const bytes = (text: string) => new TextEncoder().encode(text);
const text = (data: Uint8Array) => new TextDecoder().decode(data);

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + CONDITION_WITHIN_MS;
  while (!(await holds())) {
    if (performance.now() > deadlineMs) throw new Error(`In vain: ${what}`);
    await delay(5);
  }
}

/** A client that remembers its states and at which server it was last. */
class Client {
  readonly states: SessionState[] = [];
  readonly keeper: ZooKeeper;
  address = "";

  constructor(connect: string, options: { digests?: string[]; sessionTimeoutMs?: number } = {}) {
    this.keeper = new ZooKeeper({
      connect,
      sessionTimeoutMs: SESSION_MS,
      world: nodeWorld(),
      ...options,
      onState: (state, reason) => {
        this.states.push(state);
        if (state === "connected") this.address = reason;
      },
    });
  }
}

function codeIs(...codes: Parameters<typeof isZooKeeperError>[1][]) {
  return (error: unknown) => isZooKeeperError(error, ...codes);
}

/** Repeats what a lost connection may have interrupted. */
async function insist<T>(act: () => Promise<T>): Promise<T> {
  for (;;)
    try {
      return await act();
    } catch (error) {
      if (!isZooKeeperError(error, "CONNECTIONLOSS")) throw error;
    }
}

/** The next message of a child process; an error when it ends instead. */
function said<T>(child: ChildProcess): Promise<T> {
  return new Promise((resolve, reject) => {
    child.once("message", (message) => resolve(message as T)); // our own script sends it
    child.once("exit", (code) => reject(new Error(`The holder ended with ${code}`)));
  });
}

describe("the ZooKeeper client with one server", { skip }, () => {
  let servers: ZooKeeperServers;
  let keeper: ZooKeeper;
  before(async () => {
    servers = await ZooKeeperServers.start(1);
    keeper = new Client(servers.connectString).keeper;
  });
  after(async () => {
    await keeper?.close();
    await servers?.stop();
  });

  test("nodes are made, read, changed, listed and removed", async () => {
    assert.equal(await keeper.create("/a", bytes("first")), "/a");
    const { data, stat } = await keeper.getData("/a");
    assert.equal(text(data), "first");
    assert.deepEqual([stat.version, stat.ephemeralOwner, stat.dataLength], [0, 0n, 5]);
    assert.equal((await keeper.setData("/a", bytes("second"), 0)).version, 1);
    await assert.rejects(keeper.setData("/a", empty, 0), codeIs("BADVERSION"));
    const made = await keeper.create2("/a/ä é", empty, { isEphemeral: true });
    assert.equal(made.stat.ephemeralOwner, keeper.sessionId);
    assert.deepEqual((await keeper.getChildren("/a")).names, ["ä é"]);
    await assert.rejects(keeper.create("/a", empty), codeIs("NODEEXISTS"));
    await assert.rejects(keeper.create("/none/x", empty), codeIs("NONODE"));
    await assert.rejects(keeper.create("/a/ä é/x", empty), codeIs("NOCHILDRENFOREPHEMERALS"));
    await assert.rejects(keeper.delete("/a"), codeIs("NOTEMPTY"));
    await keeper.delete("/a/ä é", 0);
    await keeper.sync("/a");
    await keeper.delete("/a");
    assert.equal(await keeper.exists("/a"), null);
    await assert.rejects(keeper.getData("/a"), codeIs("NONODE"));
  });

  test("sequential nodes get numbers that ascend, and go with their session", async () => {
    await keeper.ensurePath("/deep/election");
    const other = new Client(servers.connectString).keeper;
    const mode = { isEphemeral: true, isSequential: true };
    const paths = [];
    for (let i = 0; i < 3; i++) paths.push(await other.create("/deep/election/n-", empty, mode));
    assert.deepEqual(paths, [...paths].sort());
    assert.match(paths[0] ?? "", /^\/deep\/election\/n-\d{10}$/);
    await other.close();
    assert.deepEqual((await keeper.getChildren("/deep/election")).names, []);
  });

  test("a multi is carried out whole or not at all", async () => {
    const results = await keeper.multi([
      { kind: "create", path: "/m", data: bytes("1") },
      { kind: "create", path: "/m/q-", data: empty, isSequential: true },
      { kind: "setData", path: "/m", data: bytes("2"), version: 0 },
      { kind: "check", path: "/m", version: 1 },
    ]);
    assert.deepEqual(
      results.map(({ kind }) => kind),
      ["created", "created", "set", "done"],
    );
    const failing = keeper.multi([
      { kind: "setData", path: "/m", data: bytes("3"), version: -1 },
      { kind: "delete", path: "/m/nothing", version: -1 },
    ]);
    await assert.rejects(
      failing,
      (error) =>
        isZooKeeperError(error, "NONODE") &&
        /delete \/m\/nothing \(step 2 of 2\)/.test(error.message),
    );
    assert.equal(text((await keeper.getData("/m")).data), "2");
  });

  test("a chroot is where a client's paths begin", async () => {
    await keeper.ensurePath("/root/of/mine");
    const inner = new Client(`${servers.connectString}/root/of/mine`).keeper;
    const seen: WatchEvent[] = [];
    await inner.getChildren("/", (event) => seen.push(event));
    assert.equal(await inner.create("/x", bytes("in")), "/x");
    assert.equal(text((await keeper.getData("/root/of/mine/x")).data), "in");
    await until("the watch fires", () => seen.length === 1);
    assert.deepEqual(seen, [{ kind: "childrenChanged", path: "/" }]);
    await inner.close();
  });

  test("digests open what is closed to others", async () => {
    const owner = new Client(servers.connectString, { digests: ["me:secret"] }).keeper;
    await owner.create("/mine", bytes("hidden"), { acl: CREATOR_ALL });
    await assert.rejects(keeper.getData("/mine"), codeIs("NOAUTH"));
    assert.equal(text((await owner.getData("/mine")).data), "hidden");
    const wrong = new Client(servers.connectString, { digests: ["me:guess"] }).keeper;
    await assert.rejects(wrong.getData("/mine"), codeIs("NOAUTH"));
    await Promise.all([owner.close(), wrong.close()]);
  });

  test("each watch fires once, for what it watches", async () => {
    const seen: string[] = [];
    const note = (name: string) => (event: WatchEvent) =>
      seen.push(`${name} ${event.kind} ${event.path}`);
    assert.equal(await keeper.exists("/w", note("exists")), null);
    await keeper.create("/w", empty);
    await keeper.getData("/w", note("data"));
    await keeper.getChildren("/w", note("children"));
    await keeper.setData("/w", bytes("x"));
    await keeper.setData("/w", bytes("y"));
    await keeper.create("/w/c", empty);
    await keeper.delete("/w/c");
    const both = note("both");
    await keeper.getData("/w", both);
    await keeper.getChildren("/w", both);
    await keeper.delete("/w");
    await until("all have fired", () => seen.length >= 4);
    assert.deepEqual(seen, [
      "exists created /w",
      "data dataChanged /w",
      "children childrenChanged /w",
      "both deleted /w",
    ]);
  });

  test("bad paths and connect strings are refused before anything is sent", async () => {
    for (const path of ["a", "/a/", "/a//b", "/a/../b", "/a\0b", ""])
      await assert.rejects(keeper.create(path, empty), /is no path of a ZooKeeper node/);
    assert.throws(() => new Client("").keeper, /names no ZooKeeper server/);
    assert.throws(() => new Client("h:99999").keeper, /is no address of a ZooKeeper server/);
  });

  test("without a server a request ends, and says what was tried", async () => {
    const lonely = new Client("127.0.0.1:1", { sessionTimeoutMs: 600 }).keeper;
    await assert.rejects(
      lonely.exists("/x"),
      (error) =>
        isZooKeeperError(error, "CONNECTIONLOSS") &&
        /127\.0\.0\.1:1: .*ECONNREFUSED/.test(error.message),
    );
    await lonely.close();
    await assert.rejects(lonely.exists("/x"), /the session was closed/);
  });

  test("thousands of requests at once are answered in their order", async () => {
    await keeper.ensurePath("/many");
    const paths = Array.from({ length: 2000 }, (_, i) => `/many/${i}`);
    assert.deepEqual(await Promise.all(paths.map((path) => keeper.create(path, empty))), paths);
    assert.equal((await keeper.getChildren("/many")).stat.childCount, 2000);
  });
});

describe("the ZooKeeper client with an ensemble", { skip }, () => {
  let servers: ZooKeeperServers;
  /** Of a session that is so long that it stays at a server that is stopped: nothing is asked of it meanwhile. */
  let observer: ZooKeeper;
  before(async () => {
    servers = await ZooKeeperServers.start(3);
    observer = new Client(servers.connectString, { sessionTimeoutMs: 60_000 }).keeper;
    await observer.ensurePath("/ephemeral");
  });
  after(async () => {
    await observer?.close();
    await servers?.stop();
  });

  for (const signal of ["SIGKILL", "SIGSTOP"] as const)
    test(`the session, its ephemeral node and its watches outlive a ${signal} of the server, ${ROUNDS} times`, async () => {
      // A third of it must be enough for the others to elect another leader when the stopped one was theirs.
      const client = new Client(servers.connectString, { sessionTimeoutMs: 8000 });
      const { keeper } = client;
      const path = await keeper.create("/ephemeral/n-", empty, {
        isEphemeral: true,
        isSequential: true,
      });
      const id = keeper.sessionId;
      for (let round = 0; round < ROUNDS; round++) {
        await until("it is connected", () => keeper.state === "connected");
        const seen: WatchEvent[] = [];
        await insist(() => keeper.getData(path, (event) => seen.push(event)));
        const { address } = client;
        const victim = servers.numberOf(address);
        servers.signal(victim, signal);
        // Another server tells of what happened while it was away.
        const other = new Client(servers.connectWithout(victim), { sessionTimeoutMs: 8000 });
        await insist(() => other.keeper.setData(path, bytes(String(round))));
        await other.keeper.close();
        await until("the watch fires", () => seen.length === 1);
        assert.equal(seen[0]?.kind, "dataChanged");
        assert.notEqual(client.address, address, "at another server");
        assert.equal(text((await insist(() => keeper.getData(path))).data), String(round));
        assert.equal(keeper.sessionId, id, "the same session");
        if (signal === "SIGKILL") await servers.restart(victim);
        else servers.signal(victim, "SIGCONT");
        // Two that are away are too many, and one that was stopped says for a moment that all is as it was.
        await servers.untilAllServe();
      }
      assert.ok(!client.states.includes("expired"));
      await keeper.close();
      await insist(() => observer.sync(path)); // its server may be behind ours
      assert.equal(await insist(() => observer.exists(path)), null);
    });

  test(`when all servers stop, the session ends by its own clock, ${ROUNDS} times`, async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const client = new Client(servers.connectString);
      const lost: WatchEvent[] = [];
      await insist(() => client.keeper.exists("/ephemeral", (event) => lost.push(event)));
      assert.ok(client.keeper.isAliveFor(0));
      for (const number of servers.numbers) servers.signal(number, "SIGSTOP");
      const pending = client.keeper.create("/ephemeral/p-", empty, { isSequential: true });
      const outcome = assert.rejects(pending, codeIs("CONNECTIONLOSS", "SESSIONEXPIRED"));
      await until("it has expired", () => client.keeper.state === "expired");
      await outcome;
      assert.ok(!client.keeper.isAliveFor(0));
      assert.deepEqual(lost, [{ kind: "lost", path: "/ephemeral" }]);
      for (const number of servers.numbers) servers.signal(number, "SIGCONT");
      await servers.untilAllServe();
      await assert.rejects(client.keeper.exists("/"), codeIs("SESSIONEXPIRED"));
    }
  });

  test(`after all servers were killed and restarted within the timeout the session goes on, ${ROUNDS} times`, async () => {
    const { keeper } = new Client(servers.connectString, { sessionTimeoutMs: 60_000 });
    const path = await keeper.create("/ephemeral/k-", empty, {
      isEphemeral: true,
      isSequential: true,
    });
    for (let round = 0; round < ROUNDS; round++) {
      for (const number of servers.numbers) servers.signal(number, "SIGKILL");
      await Promise.all(servers.numbers.map((number) => servers.restart(number)));
      assert.equal((await insist(() => keeper.exists(path)))?.ephemeralOwner, keeper.sessionId);
    }
    await keeper.close();
  });

  test(`a process that was stopped knows before it acts that its session is over, ${ROUNDS} times`, async () => {
    const folder = mkdtempSync(join(tmpdir(), "holder-"));
    after(() => rmSync(folder, { recursive: true }));
    const script = join(folder, "holder.mjs");
    await build({
      entryPoints: ["test/services/holder.ts"],
      outfile: script,
      bundle: true,
      platform: "node",
      format: "esm",
    });
    for (let round = 0; round < ROUNDS; round++) {
      const child = fork(script, [servers.connectString, String(SESSION_MS)], { stdio: "inherit" });
      try {
        const path = await said<string>(child);
        child.kill("SIGSTOP");
        await until(
          "its node is gone",
          async () => (await insist(() => observer.exists(path))) === null,
        );
        const verdict = said(child);
        child.kill("SIGCONT");
        assert.deepEqual(await verdict, { aliveAfterStop: 0, expired: true });
      } finally {
        child.kill("SIGKILL");
      }
    }
  });
});
