import assert from "node:assert/strict";
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { changeMembership, encodeMembership } from "../raft/membership.ts";
import type { Entry } from "../raft/messages.ts";
import { nodeWorld } from "../world/node_world.ts";
import type { World } from "../world/ports.ts";
import { type JournalFileSystem, nodeFileSystem } from "./file_system.ts";
import { bound, crc32c, freePort, root, until } from "./journal_fixture.ts";
import { readIdentityFile, settleIdentity } from "./journal_folder.ts";
import { formatJournal } from "./journal_format.ts";
import { DEFAULT_REPLICATION, DEFAULT_TIMINGS, type FromThread, pack } from "./journal_protocol.ts";
import { JournalCore } from "./journal_thread.ts";
import { foundersOf, joinerIdOf } from "./member_ids.ts";
import { tcpTransport } from "./raft_transport.ts";
import { openWal } from "./wal.ts";

const SEGMENT_BYTES = 4 * 1024 * 1024;

/** A world whose time passes when the test says so. */
class ManualWorld implements World {
  readonly random = nodeWorld().random;
  readonly clock = { monotonicMs: () => this.#nowMs, wallMs: () => this.#nowMs };
  readonly timers = {
    after: (delayMs: number, act: () => void) => {
      const timer = { atMs: this.#nowMs + delayMs, act };
      this.#timers.add(timer);
      return { cancel: () => void this.#timers.delete(timer) };
    },
    soon: (act: () => void) => void setImmediate(act),
  };
  #nowMs = 0;
  readonly #timers = new Set<{ readonly atMs: number; readonly act: () => void }>();

  /** All at once, as after a stall: a timer that is due twice runs once. */
  jump(ms: number): void {
    this.#nowMs += ms;
    for (const timer of [...this.#timers]) {
      if (timer.atMs > this.#nowMs || !this.#timers.delete(timer)) continue;
      timer.act();
    }
  }
}

type Started = {
  readonly core: JournalCore;
  readonly world: ManualWorld;
  readonly posts: FromThread[];
};

async function start(
  folder: string,
  addresses: readonly string[],
  fileSystem: JournalFileSystem = nodeFileSystem(),
): Promise<Started> {
  const [address = ""] = addresses;
  const world = new ManualWorld();
  const posts: FromThread[] = [];
  const core = new JournalCore({
    fileSystem,
    crc32c,
    world,
    createTransport: tcpTransport(crc32c, nodeWorld()),
    post: (post) => posts.push(post),
  });
  const options = {
    folder,
    address,
    addresses,
    bindHost: "127.0.0.1",
    bindPort: Number(address.split(":")[1]),
    segmentBytes: SEGMENT_BYTES,
    cacheBytesMax: 64 * 1024,
    timings: DEFAULT_TIMINGS,
    replication: DEFAULT_REPLICATION,
    checkpointEntries: 200_000,
    checkpointIntervalMs: 600_000,
    mainTurns: new Int32Array(new SharedArrayBuffer(4)),
  };
  core.receive({ kind: "start", options, position: { index: 0, term: 0, membership: null } });
  await until("it has started", () => posts.find(({ kind }) => kind === "started"));
  return { core, world, posts };
}

async function format(size: number): Promise<{ folder: string; addresses: readonly string[] }> {
  const folder = mkdtempSync(join(root, "thread-"));
  const addresses: string[] = [];
  while (addresses.length < size) addresses.push(`127.0.0.1:${await freePort()}`);
  const [address = ""] = addresses;
  const options = { address, addresses, crc32c, segmentBytes: SEGMENT_BYTES, nowMs: 1 };
  await formatJournal(folder, options);
  // The others are not there to be asked.
  const fileSystem = nodeFileSystem();
  const identity = readIdentityFile(fileSystem, folder, crc32c);
  settleIdentity(fileSystem, folder, crc32c, identity, {
    standing: "founder",
    founders: addresses,
  });
  return { folder, addresses };
}

function roles(posts: readonly FromThread[]): string[] {
  return posts.flatMap((post) => (post.kind === "softState" ? [post.softState.role] : []));
}

test("JournalCore forgives itself one stall, and elects though it stalls all the time", async () => {
  const { folder, addresses } = await format(2);
  const { core, world, posts } = await start(folder, addresses);
  world.jump(5000);
  assert.deepEqual(roles(posts), [], "a process that was stopped blames nobody");
  for (let count = 0; count < 20; count++) world.jump(150);
  assert.ok(roles(posts).includes("preCandidate"));
  await core.abandon();
});

test("JournalCore reads no more of a long log at its start than the main thread may hold", async () => {
  const { folder, addresses } = await format(1);
  const payload = new Uint8Array(64 * 1024);
  const first = await start(folder, addresses);
  const lead = ({ world, posts }: Started) =>
    until("it leads", () => {
      world.jump(10);
      return posts.some((post) => post.kind === "softState" && post.softState.role === "leader")
        ? true
        : undefined;
    });
  await lead(first);
  const payloads = pack(Array.from({ length: 400 }, () => payload));
  first.core.receive({ kind: "propose", requestId: 1, term: 1, entryKind: "command", payloads });
  first.core.receive({ kind: "close" });
  await until("it has closed", () => first.posts.find(({ kind }) => kind === "closed"));

  let readBytes = 0;
  const real = nodeFileSystem();
  const counting: JournalFileSystem = {
    ...real,
    openSync(path, mode) {
      const file = real.openSync(path, mode);
      return {
        ...bound(file),
        readSync(into, at) {
          const count = file.readSync(into, at);
          readBytes += count;
          return count;
        },
      };
    },
  };
  const second = await start(folder, addresses, counting);
  const recoveredBytes = readBytes;
  assert.ok(recoveredBytes > payloads.bytes.length, "recovery reads all of it once");
  await lead(second);
  await until("entries are delivered", () => {
    second.world.jump(10);
    return second.posts.find((post) => post.kind === "committed" && post.entries.firstIndex > 1);
  });
  assert.ok(readBytes - recoveredBytes < 16 * 1024 * 1024, `${readBytes - recoveredBytes} B`);
  await second.core.abandon();
});

test("JournalCore begins with the members that its core knows, also where the commit index on the disk lags", async () => {
  const { folder, addresses } = await format(3);
  const fileSystem = nodeFileSystem();
  const owner = readIdentityFile(fileSystem, folder, crc32c);
  const founders = foundersOf(addresses);
  const wal = await openWal({
    fileSystem,
    folder,
    owner,
    membership: founders,
    covered: { index: 0, term: 0, membership: null },
    crc32c,
    timers: nodeWorld().timers,
    clock: nodeWorld().clock,
    segmentBytes: SEGMENT_BYTES,
    cacheBytesMax: 64 * 1024,
    onEvent: () => {},
    onFailure: ({ error }) => assert.fail(error),
  });
  const id = joinerIdOf("new:1", 7n);
  const withLearner = changeMembership(founders, { kind: "addLearner", id, address: "new:1" });
  assert.ok(typeof withLearner !== "string");
  const withVoter = changeMembership(withLearner, { kind: "addVoter", id, address: "new:1" });
  assert.ok(typeof withVoter !== "string");
  // The second one was proposed when the first one was committed: it proves that.
  const entries: Entry[] = [withLearner, withVoter].map((membership, at) => ({
    index: at + 1,
    term: 1,
    kind: "config",
    payload: encodeMembership(membership),
  }));
  await new Promise<void>((resolve) =>
    wal.append({ term: 1, vote: null, commitIndex: 0 }, entries, resolve),
  );
  await wal.close();
  const { core, posts } = await start(folder, addresses);
  const started = posts.find((post) => post.kind === "started");
  assert.deepEqual(
    started?.status.members.map(({ standing }) => standing),
    ["voter", "voter", "voter", "learner"],
  );
  await core.abandon();
});
