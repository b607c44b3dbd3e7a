import assert from "node:assert/strict";
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { MemberId } from "../common/ids.ts";
import { nodeWorld } from "../world/node_world.ts";
import { nodeFileSystem } from "./file_system.ts";
import { root } from "./journal_fixture.ts";
import { type JournalIdentity, PeerPins } from "./journal_folder.ts";
import { Newcomer } from "./newcomer.ts";
import type { Greeting, PeerHandlers } from "./peer_transport.ts";

test("a newcomer notes the journal of who answers it, as of who calls it", () => {
  const identity: JournalIdentity = {
    standing: "undecided",
    memberId: 1n as MemberId,
    groupId: 9n,
    incarnation: 11n,
    address: "a:1",
    founders: [],
  };
  const pins = new PeerPins(nodeFileSystem(), mkdtempSync(join(root, "newcomer-")));
  const given: PeerHandlers[] = [];
  const newcomer = new Newcomer({
    identity,
    addresses: ["a:1", "b:1", "c:1"],
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
    onEvent: () => {},
    onDecision: () => {},
  });
  const [handlers] = given;
  for (const [id, address] of [
    [2n, "b:1"],
    [3n, "c:1"],
  ] as const) {
    const peer: Greeting = {
      standing: "undecided",
      id: id as MemberId,
      address,
      incarnation: 20n + id,
      groupId: 9n,
      isBorn: false,
      memberAsOf: null,
    };
    handlers?.onAnswer(peer, {
      refusal: { reason: "notMember", explanation: "" },
      knownAs: "same",
    });
    assert.equal(pins.acquaintance(address, peer.incarnation), "same");
    assert.equal(pins.acquaintance(address, 99n), "other");
  }
  assert.equal(newcomer.decision?.standing, "founder");
});
