import assert from "node:assert/strict";
import { test } from "node:test";
import { isRockpoolError, RockpoolError } from "../common/errors.ts";
import { InvariantError } from "../common/invariant.ts";
import { APPLY_BYTES_MAX, ENTRY_BYTES_MAX, PROPOSALS_MAX } from "../common/limits.ts";
import { unbundle } from "./bundle.ts";
import { ENTRY_KINDS, unpack } from "./journal_protocol.ts";
import { WaitingProposals, WaitingReads } from "./waiting.ts";

const gone = () => new RockpoolError("UNAVAILABLE", "The reign is over");
const isGone = (error: unknown) => isRockpoolError(error, "UNAVAILABLE");
const payload = new Uint8Array(1);

test("WaitingProposals answers with the result of the entry of the same index and term", async () => {
  const proposals = new WaitingProposals<string>();
  const first = proposals.add(payload);
  const second = proposals.add(payload);
  const request = proposals.takeQueued();
  assert.ok(request !== null);
  assert.equal(request.requestId, 1);
  assert.equal(request.entryKind, "commands");
  assert.deepEqual(unpack(request.payloads).flatMap(unbundle), [payload, payload]);
  assert.equal(proposals.takeQueued(), null);
  const third = proposals.add(payload);
  const single = proposals.takeQueued();
  assert.equal(single?.entryKind, "command");
  proposals.accepted(1, 10, 3);
  proposals.accepted(2, 11, 3);
  const own = proposals.entriesOf({ firstIndex: 10, count: 2, term: 3 });
  assert.deepEqual(own.payloads, [...unpack(request.payloads), payload]);
  assert.deepEqual(own.kinds, [ENTRY_KINDS.commands, ENTRY_KINDS.command]);
  proposals.applied(9, 3, "before", gone);
  proposals.applied(10, 3, "mine", gone);
  proposals.applied(10, 3, "mine, too", gone);
  proposals.applied(11, 4, "of another leader", gone);
  assert.equal(await first, "mine");
  assert.equal(await second, "mine, too");
  await assert.rejects(third, isGone);
});

test("WaitingProposals rejects what another leader's entries have replaced, and keeps what it may be asked for", async () => {
  const proposals = new WaitingProposals<string>();
  const large = new Uint8Array(APPLY_BYTES_MAX);
  const waiting = [large, large, large].map((each) => proposals.add(each));
  proposals.takeQueued();
  proposals.accepted(1, 20, 3);
  assert.equal(proposals.entriesOf({ firstIndex: 21, count: 2, term: 3 }).payloads.length, 2);
  proposals.applied(20, 3, "mine", gone);
  // Once more, after the state was put back.
  proposals.applied(20, 3, "again", gone);
  assert.equal(await waiting[0], "mine");
  // 21 is a no-op, of which nothing is told here.
  proposals.applied(22, 4, "of another leader", gone);
  for (const each of waiting.slice(1)) await assert.rejects(each ?? Promise.resolve(), isGone);
  assert.throws(() => proposals.entriesOf({ firstIndex: 22, count: 1, term: 3 }), InvariantError);

  const later = proposals.add(payload);
  proposals.takeQueued();
  proposals.accepted(2, 23, 5);
  proposals.rejectAll(gone);
  await assert.rejects(later, isGone);
  assert.equal(proposals.entriesOf({ firstIndex: 23, count: 1, term: 5 }).payloads.length, 1);
  proposals.applied(23, 5, "of nobody", gone);
});

test("WaitingProposals rejects all wherever they are, and later answers find nobody", async () => {
  const proposals = new WaitingProposals<string>();
  const waiting = [proposals.add(payload)];
  proposals.takeQueued();
  proposals.accepted(1, 5, 1);
  waiting.push(proposals.add(payload));
  proposals.takeQueued();
  waiting.push(proposals.add(payload));
  proposals.rejectAll(gone);
  for (const each of waiting) await assert.rejects(each, isGone);
  proposals.applied(5, 1, "late", gone);
  proposals.accepted(2, 6, 1);
  proposals.refused(2, gone());
  assert.equal(proposals.takeQueued(), null);
});

test("WaitingProposals forgets what an earlier reign had accepted where a later one appends", async () => {
  const proposals = new WaitingProposals<string>();
  const accept = (bytes: readonly number[], index: number, term: number) => {
    // As large as an entry is, so that each takes one.
    const added = bytes.map((byte) => proposals.add(new Uint8Array(APPLY_BYTES_MAX).fill(byte)));
    const request = proposals.takeQueued();
    proposals.accepted(request?.requestId ?? 0, index, term);
    return added;
  };
  const bytesOf = (firstIndex: number, count: number, term: number) =>
    proposals.entriesOf({ firstIndex, count, term }).payloads.map((each) => each.at(-1));
  const early = [...accept([1, 2, 3], 10, 1), ...accept([4], 13, 1), ...accept([5], 14, 1)];
  proposals.rejectAll(gone);
  for (const each of early) await assert.rejects(each, isGone);
  const [late] = accept([6], 12, 3);
  assert.deepEqual(bytesOf(10, 2, 1), [1, 2]);
  proposals.applied(10, 1, "early", gone);
  proposals.applied(11, 1, "early", gone);
  assert.deepEqual(bytesOf(12, 1, 3), [6]);
  proposals.applied(12, 3, "mine", gone);
  assert.equal(await late, "mine");
});

test("WaitingProposals and WaitingReads take no more than their bound, and again when some are answered", async () => {
  const proposals = new WaitingProposals<string>();
  const reads = new WaitingReads();
  const waiting: Promise<unknown>[] = [];
  for (let count = 0; count < PROPOSALS_MAX; count++)
    waiting.push(proposals.add(payload), reads.add());
  const isFull = (error: unknown) => isRockpoolError(error, "RESOURCE_EXHAUSTED");
  await assert.rejects(proposals.add(payload), isFull);
  await assert.rejects(reads.add(), isFull);
  proposals.rejectAll(gone);
  reads.rejectAll(gone);
  for (const result of await Promise.allSettled(waiting)) assert.equal(result.status, "rejected");
  const large = new Uint8Array(ENTRY_BYTES_MAX);
  const many = Array.from({ length: 64 }, () => proposals.add(large));
  await assert.rejects(proposals.add(payload), isFull);
  const isTooLarge = (error: unknown) => isRockpoolError(error, "INVALID_ARGUMENT");
  await assert.rejects(proposals.add(new Uint8Array(ENTRY_BYTES_MAX + 1)), isTooLarge);
  proposals.rejectAll(gone);
  for (const one of many) await assert.rejects(one, isGone);
});

test("WaitingReads lets a read go when its context is confirmed and its index applied", async () => {
  const reads = new WaitingReads();
  const order: string[] = [];
  const first = reads.add().then(() => order.push("first"));
  assert.equal(reads.takeQueued(), 1);
  const second = reads.add().then(() => order.push("second"));
  assert.equal(reads.takeQueued(), 2);
  assert.equal(reads.takeQueued(), null);
  const third = reads.add();
  assert.equal(reads.takeQueued(), 3);
  reads.confirmed(1, 10);
  reads.confirmed(2, 5);
  reads.applied(4);
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(order, []);
  reads.applied(5);
  await second;
  assert.deepEqual(order, ["second"]);
  reads.applied(10);
  await first;
  reads.aborted([3, 99], gone);
  await assert.rejects(third, isGone);
});
