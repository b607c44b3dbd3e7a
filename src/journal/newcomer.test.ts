import assert from "node:assert/strict";
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { MemberId } from "../common/ids.ts";
import { nodeWorld } from "../world/node_world.ts";
import { nodeFileSystem } from "./file_system.ts";
import { root } from "./journal_fixture.ts";
import { type JournalIdentity, PeerPins } from "./journal_folder.ts";
import type { JournalEvent } from "./journal_protocol.ts";
import { Newcomer } from "./newcomer.ts";
import type { Greeting, PeerHandlers } from "./peer_transport.ts";

const ADDRESSES = ["a:1", "b:1", "c:1"];
const UNDECIDED: Greeting = {
  standing: "undecided",
  id: 2n as MemberId,
  address: "b:1",
  incarnation: 22n,
  groupId: 9n,
  isBorn: false,
  memberAsOf: null,
  namesAsOf: null,
  founders: ADDRESSES,
};

function newcomerAt(pins: PeerPins, events: JournalEvent[] = []) {
  const identity: JournalIdentity = {
    standing: "undecided",
    memberId: 1n as MemberId,
    groupId: 9n,
    incarnation: 11n,
    address: "a:1",
    founders: [],
  };
  const given: PeerHandlers[] = [];
  const newcomer = new Newcomer({
    identity,
    addresses: ADDRESSES,
    bindHost: "127.0.0.1",
    bindPort: 0,
    pins,
    timers: nodeWorld().timers,
    createTransport(_options, handlers) {
      given.push(handlers);
      return {
        start: () => Promise.resolve(),
        setMembership: () => {},
        send: () => {},
        isConnected: () => false,
        silenceMs: () => Number.POSITIVE_INFINITY,
        fetchCheckpoint: () => Promise.reject(new Error("There is none")),
        close: () => Promise.resolve(),
      };
    },
    onEvent: (event) => events.push(event),
    onDecision: () => {},
  });
  const [handlers] = given;
  assert.ok(handlers);
  return { newcomer, handlers };
}

function freshPins(): PeerPins {
  return new PeerPins(nodeFileSystem(), mkdtempSync(join(root, "newcomer-")));
}

test("a newcomer notes the journal of who answers it, as of who calls it", () => {
  const pins = freshPins();
  const { newcomer, handlers } = newcomerAt(pins);
  for (const [id, address] of [
    [2n, "b:1"],
    [3n, "c:1"],
  ] as const) {
    const peer = { ...UNDECIDED, id: id as MemberId, address, incarnation: 20n + id };
    handlers.onAnswer(peer, {
      refusal: { reason: "notMember", explanation: "" },
      knownAs: "same",
    });
    assert.equal(pins.acquaintance(address, peer.incarnation), "same");
    assert.equal(pins.acquaintance(address, 99n), "other");
  }
  assert.equal(newcomer.decision?.standing, "founder");
});

test("a newcomer says once how the list of another fresh master differs from its own", () => {
  const events: JournalEvent[] = [];
  const { handlers } = newcomerAt(freshPins(), events);
  const other = { ...UNDECIDED, groupId: 10n, founders: ["a:1", "b:1", "d:1"] };
  handlers.onGreeting(UNDECIDED);
  handlers.onGreeting({ ...other, standing: "joiner", founders: [] });
  assert.equal(events.length, 0);
  handlers.onGreeting(other);
  handlers.onAnswer(other, {
    refusal: { reason: "notMember", explanation: "" },
    knownAs: "nobody",
  });
  handlers.onGreeting({ ...other, groupId: 11n, founders: ["a:1", "b:1"] });
  const told = events.flatMap((event) => (event.kind === "addressListsDiffer" ? [event] : []));
  assert.deepEqual(
    told.map(({ onlyHere, onlyThere }) => [onlyHere, onlyThere]),
    [
      [["c:1"], ["d:1"]],
      [["c:1"], []],
    ],
  );
  assert.match(told[0]?.message ?? "", /a:1,b:1,c:1.*b:1 for a:1,b:1,d:1/);
});
