import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { isRockpoolError } from "../common/errors.ts";
import type { MemberId } from "../common/ids.ts";
import { openFallbackKernels } from "../kernels/fallback.ts";
import type { Message } from "../raft/messages.ts";
import { nodeWorld } from "../world/node_world.ts";
import type { World } from "../world/ports.ts";
import { nodeFileSystem } from "./file_system.ts";
import { freePort } from "./journal_fixture.ts";
import { PeerPins } from "./journal_folder.ts";
import { foundersOf, groupIdOf, memberIdOf } from "./member_ids.ts";
import { type InForce, MembershipGate } from "./membership_gate.ts";
import type { Answer, Greeting, TransportEvent } from "./peer_transport.ts";
import { RaftTransport } from "./raft_transport.ts";

const kernels = openFallbackKernels({ arenaBytes: 64 * 1024 });
const crc32c = (bytes: Uint8Array, seed?: number) => kernels.crc32c(bytes, seed);
const root = mkdtempSync(join(tmpdir(), "rockpool-transport-"));
const closers: (() => Promise<void>)[] = [];
after(async () => {
  for (const close of closers) await close();
  rmSync(root, { recursive: true, force: true });
});

/** The real world, in which time-outs come twenty times as fast. */
function hastyWorld(): World {
  const world = nodeWorld();
  return {
    ...world,
    timers: { ...world.timers, after: (ms, act) => world.timers.after(ms / 20, act) },
  };
}

/** A listener of the test's own, which holds its port until the end. */
async function listener(
  onSocket: (socket: Socket) => void,
): Promise<{ server: Server; port: number }> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    onSocket(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const bound = server.address();
  assert.ok(bound !== null && typeof bound === "object");
  return { server, port: bound.port };
}

type Member = {
  readonly transport: RaftTransport;
  readonly messages: Message[];
  readonly events: TransportEvent[];
  readonly died: MemberId[];
  readonly refusals: NonNullable<Answer["refusal"]>[];
  /** Of those who called. */
  readonly greetings: Greeting[];
  readonly enter: (inForce: InForce) => void;
};

async function member(options: {
  readonly address: string;
  readonly addresses: readonly string[];
  readonly world?: World;
  readonly incarnation?: bigint;
  /** A joiner has another id than the founder that was at its address. */
  readonly joinerId?: MemberId;
  readonly inForce?: InForce;
}): Promise<Member> {
  const messages: Message[] = [];
  const events: TransportEvent[] = [];
  const died: MemberId[] = [];
  const folder = mkdtempSync(join(root, "member-"));
  const refusals: NonNullable<Answer["refusal"]>[] = [];
  const greetings: Greeting[] = [];
  const { address, addresses } = options;
  let inForce = options.inForce ?? { index: 0, membership: foundersOf(addresses) };
  const gate = new MembershipGate({
    identity: {
      standing: options.joinerId === undefined ? "founder" : "joiner",
      memberId: options.joinerId ?? memberIdOf(address),
      groupId: groupIdOf(addresses),
      incarnation: options.incarnation ?? 1n,
      address,
      founders: addresses,
    },
    pins: new PeerPins(nodeFileSystem(), folder),
    founders: addresses,
    isBorn: () => true,
    inForce: () => inForce,
  });
  const transport = new RaftTransport(
    {
      address,
      bindHost: "127.0.0.1",
      bindPort: Number(address.split(":")[1]),
      seeds: addresses,
      greeting: (to) => gate.greeting(to),
    },
    {
      onMessage: (message) => messages.push(message),
      onPeerDied: (peer) => died.push(peer),
      onGreeting(peer) {
        greetings.push(peer);
        return gate.answer(peer);
      },
      isWelcome: (peer) => gate.accepts(peer),
      onAnswer(peer, { refusal }) {
        if (refusal !== null) refusals.push(refusal);
        return refusal === null && gate.accepts(peer);
      },
      readCheckpoint: async ({ index }, offsetBytes, lengthBytes) => {
        const file = new Uint8Array(5000).fill(index);
        const bytes = file.subarray(offsetBytes, offsetBytes + lengthBytes);
        return index === 7 ? { totalBytes: file.length, bytes } : null;
      },
      onEvent: (event) => events.push(event),
    },
    crc32c,
    options.world ?? nodeWorld(),
  );
  transport.setMembership(inForce.membership);
  closers.push(() => transport.close());
  await transport.start();
  const enter = (entered: InForce) => {
    inForce = entered;
    transport.setMembership(entered.membership);
  };
  return { transport, messages, events, died, refusals, greetings, enter };
}

const freeAddress = async () => `127.0.0.1:${await freePort()}`;

async function until(what: string, isTrue: () => boolean): Promise<void> {
  const endMs = Date.now() + 60_000;
  while (!isTrue()) {
    if (Date.now() > endMs) throw new Error(`Waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

const heartbeat = (from: string, to: string, term: number): Message => ({
  kind: "heartbeat",
  from: memberIdOf(from),
  to: memberIdOf(to),
  term,
  commitIndex: 0,
  readContext: 0,
});

test("RaftTransport carries messages in order, and drops those for a peer that is not there", async () => {
  const addresses = [await freeAddress(), await freeAddress()];
  const [a = "", b = ""] = addresses;
  const one = await member({ address: a, addresses });
  one.transport.send(heartbeat(a, b, 1));
  const other = await member({ address: b, addresses });
  await until("they are connected", () =>
    [one, other].every(({ events }) => events.some(({ kind }) => kind === "peerConnected")),
  );
  for (let term = 2; term < 50; term++) one.transport.send(heartbeat(a, b, term));
  await until("all came", () => other.messages.length >= 48);
  assert.deepEqual(
    other.messages.map(({ term }) => term),
    Array.from({ length: 48 }, (_, at) => at + 2),
  );
  assert.ok(one.transport.silenceMs(memberIdOf(b)) < 10_000);
  assert.ok(one.transport.isConnected(memberIdOf(b)));
  await other.transport.close();
  await until("its death is noticed", () => one.died.includes(memberIdOf(b)));
  assert.ok(!one.transport.isConnected(memberIdOf(b)));
});

test("RaftTransport does not take silence for a death", async () => {
  let count = 0;
  const silent = await listener((socket) => {
    count += 1;
    socket.resume();
  });
  closers.push(async () => {
    silent.server.close();
  });
  const address = await freeAddress();
  const addresses = [address, `127.0.0.1:${silent.port}`];
  const { died, transport } = await member({ address, addresses, world: hastyWorld() });
  await until("it has dialled again and again", () => count >= 3);
  assert.deepEqual(died, []);
  await transport.close();
});

test("RaftTransport keeps out members of other groups, and those who answer in another's name", async () => {
  const [a, b, c] = [await freeAddress(), await freeAddress(), await freeAddress()];
  const one = await member({ address: a, addresses: [a, b] });
  const other = await member({ address: b, addresses: [a, b, c] });
  for (const { refusals } of [one, other])
    await until("both are told why", () => refusals.some(({ reason }) => reason === "otherGroup"));
  one.transport.send(heartbeat(a, b, 1));
  assert.deepEqual(other.messages, []);
  assert.ok(!one.transport.isConnected(memberIdOf(b)));
});

test("RaftTransport counts and closes a connection whose messages bear another's name", async () => {
  const addresses = [await freeAddress(), await freeAddress(), await freeAddress()];
  const [a = "", b = "", c = ""] = addresses;
  const one = await member({ address: a, addresses });
  const other = await member({ address: b, addresses });
  await until("they are connected", () => one.transport.isConnected(memberIdOf(b)));
  one.transport.send(heartbeat(c, b, 1));
  await until("it is told", () => other.events.some(({ kind }) => kind === "badConnection"));
  assert.deepEqual(other.messages, []);
});

test("RaftTransport fetches parts of a checkpoint, and says why it can't", async () => {
  const addresses = [await freeAddress(), await freeAddress()];
  const [a = "", b = ""] = addresses;
  const one = await member({ address: a, addresses });
  const other = await member({ address: b, addresses });
  await until("they are connected", () => one.transport.isConnected(memberIdOf(b)));
  const fetch = (index: number, offsetBytes: number) =>
    one.transport.fetchCheckpoint(memberIdOf(b), { index, term: 1 }, offsetBytes, 3000);
  const first = await fetch(7, 0);
  const second = await fetch(7, 3000);
  assert.deepEqual(
    [first.bytes.length, second.bytes.length, second.offsetBytes, second.totalBytes],
    [3000, 2000, 3000, 5000],
  );
  assert.ok([...first.bytes, ...second.bytes].every((byte) => byte === 7));
  await assert.rejects(fetch(8, 0), (error) => isRockpoolError(error, "NOT_FOUND"));
  await other.transport.close();
  await assert.rejects(fetch(7, 0), (error) => isRockpoolError(error, "UNAVAILABLE"));
});

test("RaftTransport dials its seeds until it knows its members, and those who are welcome", async () => {
  const [a, b] = [await freeAddress(), await freeAddress()];
  const one = await member({ address: a, addresses: [a, b] });
  const other = await member({ address: b, addresses: [a, b] });
  await until("they are connected", () => one.transport.isConnected(memberIdOf(b)));
  one.enter({ index: 1, membership: foundersOf([a]) });
  assert.ok(!one.transport.isConnected(memberIdOf(b)));
  one.enter({ index: 0, membership: foundersOf([a, b]) });
  // It called while it was welcome, and is known to the gate: so it stays.
  await until("it is connected again", () => one.transport.isConnected(memberIdOf(b)));
  await until("it has called", () => one.greetings.length > 1);
  one.transport.setMembership(foundersOf([a]));
  assert.ok(one.transport.isConnected(memberIdOf(b)));
  one.transport.setMembership({ voters: [], learners: [], addresses: new Map() });
  other.transport.send(heartbeat(b, a, 1));
  await until("the seed said who it is", () => one.transport.isConnected(memberIdOf(b)));
});

test("RaftTransport keeps answering one that knows more, through all memberships that are older than what it knows", async () => {
  const [a, b] = [await freeAddress(), await freeAddress()];
  const founders = foundersOf([a, b]);
  const joinerId = 77n as MemberId;
  const voters = [memberIdOf(a), joinerId];
  const addresses = new Map([
    [memberIdOf(a), a],
    [joinerId, b],
  ]);
  // It was away while the other founder's disk was wiped.
  const away = await member({ address: a, addresses: [a, b] });
  const inForce = { index: 9, membership: { voters, learners: [], addresses } };
  const other = await member({ address: b, addresses: [a, b], joinerId, inForce });
  await until("both are connected", () =>
    [away.transport.isConnected(joinerId), other.transport.isConnected(memberIdOf(a))].every(
      (isConnected) => isConnected,
    ),
  );
  // The old founder's name is not its own, whatever the caller's membership says of that one.
  assert.ok(other.greetings.length > 0);
  for (const { namesAsOf } of other.greetings) assert.equal(namesAsOf, null);
  assert.equal(away.greetings.at(-1)?.namesAsOf, 9);
  for (const index of [3, 5, 8]) away.enter({ index, membership: founders });
  away.enter({ index: 8, membership: foundersOf([a]) });
  assert.ok(away.transport.isConnected(joinerId));
  away.enter(inForce);
  assert.ok(away.transport.isConnected(joinerId));
  assert.deepEqual(
    other.events.map(({ kind }) => kind),
    ["peerConnected"],
  );
  // Now it knows as much, and the other one has left.
  away.enter({ index: 10, membership: founders });
  assert.ok(!away.transport.isConnected(joinerId));
});

test("RaftTransport keeps a bounded number of guests", async () => {
  const [a] = [await freeAddress()];
  const one = await member({ address: a, addresses: [a] });
  const others: Member[] = [];
  const isGuest = ({ transport }: Member, at: number) =>
    one.transport.silenceMs(BigInt(100 + at) as MemberId) < Number.POSITIVE_INFINITY &&
    transport.isConnected(memberIdOf(a));
  for (let at = 0; at < 66; at++) {
    const address = await freeAddress();
    const joinerId = BigInt(100 + at) as MemberId;
    const addresses = new Map([
      [memberIdOf(a), a],
      [joinerId, address],
    ]);
    const membership = { voters: [...addresses.keys()], learners: [], addresses };
    const inForce = { index: 9, membership };
    const guest = await member({ address, addresses: [a], joinerId, inForce });
    others.push(guest);
    await until("it is a guest", () => isGuest(guest, at));
  }
  const known = others.filter((_, at) =>
    Number.isFinite(one.transport.silenceMs(BigInt(100 + at) as MemberId)),
  );
  assert.ok(known.length <= 64, `${known.length}`);
});
