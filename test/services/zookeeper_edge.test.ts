/**
 * The edge gateway of masters that ZooKeeper elects, on a journal that they share: standbys name the leader, and a read goes on where it
 * stood when the leader is killed. Real processes, a real ZooKeeper, the client as its users have it.
 * @module
 */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { WebSocket } from "ws";
import { FileSystem } from "../../src/client/file_system.ts";
import { decodeFrame, encodeFrame, FRAME, SUBPROTOCOL } from "../../src/edge/frame.ts";
import { crc32c } from "../../src/kernels/fallback.ts";
import type { Job, Outcome } from "../edge/job.ts";
import { openRuntime, type Runtime } from "../edge/runtimes.ts";
import { LocalCluster } from "../process/local_cluster.ts";
import { ZooKeeperServers } from "./zookeeper_servers.ts";

const why = ZooKeeperServers.missing();
if (why !== null && process.env["ROCKPOOL_REQUIRE_JAVA"] === "1")
  throw new Error(`These tests need a JDK and Maven: ${why}`);

const SESSION_MS = 2000;
const MASTERS = [1, 2, 3];
const TOKEN = "the-token-of-the-edge";
const FILE_BYTES = 64 * 1024 * 1024 + 12_345;
const KILLED_AT_BYTES = 20_000_000;

/** As the client's driver makes it: of the digests of each MiB. */
function digestOf(bytes: Uint8Array): string {
  const sha = (piece: Uint8Array | string) => createHash("sha256").update(piece).digest("hex");
  let pieces = "";
  for (let at = 0; at < bytes.length; at += 1 << 20)
    pieces += sha(bytes.subarray(at, at + (1 << 20)));
  return sha(pieces);
}

/** A page that does something when it is fetched, and answers then. */
async function trigger(action: () => void) {
  const server = createServer((_, response) => {
    action();
    response.end("done");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo; // it listens on TCP
  return { url: `http://127.0.0.1:${port}/`, close: () => server.close() };
}

/** What a master answers to HELLO: the frame's type and its document. */
async function greeted(address: string): Promise<{ type: number; words: Record<string, unknown> }> {
  const socket = new WebSocket(`ws://${address}/edge`, SUBPROTOCOL);
  try {
    await once(socket, "open");
    const hello = new TextEncoder().encode(JSON.stringify({ version: 1, token: TOKEN }));
    socket.send(encodeFrame({ type: FRAME.hello }, hello, crc32c));
    const [message] = (await once(socket, "message")) as [Buffer]; // every message is binary
    const frame = decodeFrame(message, crc32c);
    assert.ok(typeof frame !== "string", String(frame));
    return { type: frame.type, words: JSON.parse(Buffer.from(frame.payload).toString("utf8")) };
  } finally {
    socket.terminate();
  }
}

describe("edge clients of masters with ZooKeeper", {
  skip: why === null ? false : `NOT RUN: ${why}`,
}, () => {
  const folder = mkdtempSync(join(tmpdir(), "rockpool-zookeeper-edge-"));
  const content = randomBytes(FILE_BYTES);
  let zookeeper: ZooKeeperServers;
  let cluster: LocalCluster;
  let files: FileSystem;
  let runtime: Runtime;

  const webOf = (number: number) => `localhost:${cluster.node("master", number).webPort}`;
  const standbysOf = (leader: number) => MASTERS.filter((number) => number !== leader);

  before(async () => {
    writeFileSync(join(folder, "tokens"), `root write ${TOKEN}\n`);
    writeFileSync(join(folder, "secret"), randomBytes(48).toString("base64"));
    zookeeper = await ZooKeeperServers.start(1);
    cluster = await LocalCluster.start({
      masters: MASTERS.length,
      workers: 1,
      definitions: [
        "alluxio.zookeeper.enabled=true",
        `alluxio.zookeeper.address=${zookeeper.connectString}`,
        `alluxio.zookeeper.session.timeout=${SESSION_MS}ms`,
        `alluxio.master.journal.folder=${join(folder, "journal")}`,
        `rockpool.edge.tokens.path=${join(folder, "tokens")}`,
        `rockpool.edge.secret.path=${join(folder, "secret")}`,
      ],
    });
    files = await FileSystem.connect({ masters: cluster.masters });
    await files.writeFile("/big.bin", content, { writeType: "MUST_CACHE" });
    runtime = await openRuntime("node20", mkdtempSync(join(folder, "client-")));
  });
  after(async () => {
    await runtime?.close();
    await files?.close();
    await cluster?.stop();
    await zookeeper?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  async function read(job: Pick<Job, "masters"> & Partial<Job>): Promise<Outcome> {
    const outcome = await runtime.run({ what: "digest", token: TOKEN, path: "/big.bin", ...job });
    assert.equal(outcome.error, undefined);
    assert.equal(outcome.bytes, FILE_BYTES);
    assert.equal(outcome.sha256, digestOf(content));
    assert.equal(outcome.damaged, 0);
    return outcome;
  }

  /** Of WELCOME or MOVED. */
  const named = (words: Record<string, unknown>) => [...(words["masters"] as string[])].sort(); // as the protocol has it

  /** Each standby names the leader, and who stands for election, by their web addresses. */
  async function requireMoved(
    leader: number,
    standbys: readonly number[],
    all: readonly number[] = MASTERS,
  ): Promise<void> {
    for (const standby of standbys) {
      let answer = await greeted(webOf(standby));
      // Both come from ZooKeeper, a moment later.
      await cluster.until("the standby knows the leader and the others", async () => {
        answer = await greeted(webOf(standby));
        const { leader: known } = answer.words;
        return typeof known === "string" && named(answer.words).length === all.length;
      });
      assert.equal(answer.type, FRAME.moved);
      assert.equal(answer.words["leader"], webOf(leader));
      assert.deepEqual(named(answer.words), all.map(webOf).sort());
    }
  }

  test("standbys name the leader, and a client that knows only one of them reads, verified", async () => {
    const leader = await cluster.leader();
    const standbys = standbysOf(leader);
    await requireMoved(leader, standbys);
    const welcome = await greeted(webOf(leader));
    assert.equal(welcome.type, FRAME.welcome);
    assert.deepEqual(named(welcome.words), MASTERS.map(webOf).sort());
    const outcome = await read({ masters: standbys.slice(0, 1).map(webOf) });
    assert.ok((outcome.connects ?? 0) >= 1);
  });

  test("a read goes on at its byte when the leader is killed", async (context) => {
    const leader = await cluster.leader();
    const standbys = standbysOf(leader);
    const page = await trigger(() => cluster.kill("master", leader, "SIGKILL"));
    try {
      const outcome = await read({
        masters: standbys.slice(0, 1).map(webOf),
        checkpoint: { bytes: KILLED_AT_BYTES, url: page.url },
      });
      assert.ok((outcome.connects ?? 0) >= 2, "another master has gone on with it");
      assert.ok(!cluster.isRunning("master", leader));
      const gapMs = Math.round(outcome.longestGapMs ?? 0);
      context.diagnostic(`longest gap ${gapMs} ms, session timeout ${SESSION_MS} ms`);
    } finally {
      page.close();
    }
    const next = await cluster.leader();
    assert.notEqual(next, leader);
    const others = standbys.filter((number) => number !== next);
    await requireMoved(next, others, standbys);
    // Who comes back is a standby like any other.
    await cluster.startProcess("master", leader);
    await cluster.untilHealthy();
    await requireMoved(next, [leader]);
    await read({ masters: [webOf(leader)] });
  });
});
