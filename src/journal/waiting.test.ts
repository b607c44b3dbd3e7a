import assert from "node:assert/strict";
import { test } from "node:test";
import { isRockpoolError, RockpoolError } from "../common/errors.ts";
import { PROPOSALS_MAX } from "../common/limits.ts";
import { unpack } from "./journal_protocol.ts";
import { WaitingProposals, WaitingReads } from "./waiting.ts";

const gone = () => new RockpoolError("UNAVAILABLE", "The reign is over");
const isGone = (error: unknown) => isRockpoolError(error, "UNAVAILABLE");
const payload = new Uint8Array(1);

test("WaitingProposals answers with the result of the entry of the same index and term", async () => {
  const proposals = new WaitingProposals<string>();
  const first = proposals.add(payload);
  const second = proposals.add(payload);
  const request = proposals.takeQueued();
  assert.equal(request?.requestId, 1);
  assert.deepEqual(request === null ? [] : unpack(request.payloads), [payload, payload]);
  assert.equal(proposals.takeQueued(), null);
  proposals.accepted(1, 10, 3);
  proposals.applied(9, 3, "before", gone);
  proposals.applied(10, 3, "mine", gone);
  proposals.applied(11, 4, "of another leader", gone);
  assert.equal(await first, "mine");
  await assert.rejects(second, isGone);
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
    const added = bytes.map((byte) => proposals.add(Uint8Array.of(byte)));
    const request = proposals.takeQueued();
    proposals.accepted(request?.requestId ?? 0, index, term);
    return added;
  };
  const early = [...accept([1, 2, 3], 10, 1), ...accept([4], 13, 1), ...accept([5], 14, 1)];
  proposals.rejectAll(gone);
  for (const each of early) await assert.rejects(each, isGone);
  const [late] = accept([6], 12, 3);
  assert.deepEqual(proposals.payloadsOf(10, 2, 1), [Uint8Array.of(1), Uint8Array.of(2)]);
  proposals.applied(10, 1, "early", gone);
  proposals.applied(11, 1, "early", gone);
  assert.deepEqual(proposals.payloadsOf(12, 1, 3), [Uint8Array.of(6)]);
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
  const large = new Uint8Array(63 * 1024 * 1024);
  const one = proposals.add(large);
  await assert.rejects(proposals.add(new Uint8Array(2 * 1024 * 1024)), isFull);
  proposals.rejectAll(gone);
  await assert.rejects(one, isGone);
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
