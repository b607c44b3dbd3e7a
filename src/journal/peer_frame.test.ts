import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { DecodeError } from "../common/bytes.ts";
import type { MemberId } from "../common/ids.ts";
import { openFallbackKernels } from "../kernels/fallback.ts";
import { encodeFrame, FRAME_BYTES_MAX, type Frame, FrameReader } from "./peer_frame.ts";

const kernels = openFallbackKernels({ arenaBytes: 64 * 1024 });
const crc32c = (bytes: Uint8Array, seed?: number) => kernels.crc32c(bytes, seed);
const from = 1n as MemberId;
const to = (1n << 62n) as MemberId;
const envelope = { from, to, term: 3 };

const FRAMES: readonly Frame[] = [
  {
    kind: "hello",
    hello: {
      protocolVersion: 3,
      purpose: "messages",
      to,
      greeting: {
        standing: "founder",
        id: from,
        address: "master-1:19200",
        incarnation: 0xfedcba9876543210n,
        groupId: 5n,
        isBorn: true,
        memberAsOf: 0,
        namesAsOf: 17,
        founders: ["master-1:19200", "[::1]:19200"],
      },
    },
  },
  ...([{ reason: "wiped", explanation: "Another journal was known" }, null] as const).map(
    (refusal) => ({
      kind: "answer" as const,
      answer: {
        protocolVersion: 3,
        greeting: {
          standing: "joiner" as const,
          id: to,
          address: "[::1]:19200",
          incarnation: 9n,
          groupId: 5n,
          isBorn: false,
          memberAsOf: null,
          namesAsOf: null,
          founders: [],
        },
        refusal,
        knownAs: "other" as const,
      },
    }),
  ),
  { kind: "fetch", fetch: { index: 12, term: 3, offsetBytes: 1 << 20, lengthBytes: 1 << 20 } },
  { kind: "chunk", chunk: null },
  { kind: "chunk", chunk: { totalBytes: 5000, bytes: new Uint8Array([1, 2, 3]) } },
  { kind: "ping" },
  { kind: "pong" },
  ...(
    [
      {
        ...envelope,
        kind: "requestVote",
        lastLogIndex: 10,
        lastLogTerm: 2,
        isTransfer: true,
      },
      {
        ...envelope,
        kind: "requestPreVote",
        lastLogIndex: 10,
        lastLogTerm: 2,
        isTransfer: false,
      },
      { ...envelope, kind: "voteResponse", isGranted: true, committed: { index: 4, term: 2 } },
      { ...envelope, kind: "preVoteResponse", isGranted: false, committed: { index: 0, term: 0 } },
      {
        ...envelope,
        kind: "appendEntries",
        prevLogIndex: 7,
        prevLogTerm: 2,
        entries: [
          { index: 8, term: 2, kind: "noop", payload: new Uint8Array(0) },
          { index: 9, term: 3, kind: "command", payload: new Uint8Array([1, 2, 3]) },
          { index: 10, term: 3, kind: "config", payload: new Uint8Array([4]) },
        ],
        leaderCommit: 6,
      },
      { ...envelope, kind: "appendAccepted", matchIndex: 10 },
      {
        ...envelope,
        kind: "appendRejected",
        rejectedIndex: 9,
        hintIndex: 4,
        hintTerm: 1,
        isRepairing: true,
      },
      {
        ...envelope,
        kind: "snapshot",
        snapshot: {
          index: 9,
          term: 3,
          membership: { voters: [from], learners: [to], addresses: new Map([[to, "b:1"]]) },
        },
      },
      { ...envelope, kind: "heartbeat", commitIndex: 8, readContext: 12 },
      { ...envelope, kind: "heartbeatResponse", readContext: 12 },
      { ...envelope, kind: "timeoutNow" },
    ] as const
  ).map((message) => ({ kind: "message" as const, message })),
];

function stream(frames: readonly Frame[]): Uint8Array {
  return new Uint8Array(
    Buffer.concat(frames.map((frame, at) => encodeFrame(frame, at + 1, crc32c))),
  );
}

function readAll(bytes: Uint8Array, cuts: readonly number[], bytesMax = FRAME_BYTES_MAX): Frame[] {
  const reader = new FrameReader(crc32c, bytesMax);
  const frames: Frame[] = [];
  const ends = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  let at = 0;
  for (const end of ends) {
    frames.push(...reader.push(bytes.slice(at, end)));
    at = end;
  }
  return frames;
}

test("FrameReader gives back every frame, however the stream is cut", () => {
  const bytes = stream(FRAMES);
  fc.assert(
    fc.property(fc.array(fc.nat(), { maxLength: 40 }), (cuts) => {
      assert.deepEqual(readAll(bytes, cuts), FRAMES);
    }),
  );
});

test("FrameReader refuses a stream with any bit changed", () => {
  const bytes = stream(FRAMES);
  fc.assert(
    fc.property(fc.nat(bytes.length * 8 - 1), (bit) => {
      const changed = bytes.slice();
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      let found: readonly Frame[] = [];
      try {
        found = readAll(changed, []);
      } catch (error) {
        assert.ok(error instanceof DecodeError, String(error));
        return;
      }
      // A length that grew makes the reader wait for bytes that never come.
      assert.ok(found.length < FRAMES.length);
    }),
  );
});

test("FrameReader never fails in another way, whatever the bytes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (body) => {
      // With a sound header, so that the bytes reach the decoders.
      const frame = encodeFrame({ kind: "ping" }, 1, crc32c);
      const bytes = new Uint8Array(20 + body.length);
      bytes.set(frame);
      bytes.set(body, 20);
      bytes[4] = 1 + ((body[0] ?? 0) % 7);
      const view = new DataView(bytes.buffer);
      view.setUint32(0, body.length, true);
      view.setUint32(16, crc32c(body, crc32c(bytes.subarray(0, 16))), true);
      try {
        readAll(bytes, []);
      } catch (error) {
        assert.ok(error instanceof DecodeError, String(error));
      }
    }),
  );
});

test("FrameReader refuses a frame that is repeated, left out, or too long", () => {
  const ping = (sequence: number) => encodeFrame({ kind: "ping" }, sequence, crc32c);
  assert.throws(() => readAll(Buffer.concat([ping(1), ping(1)]), []), DecodeError);
  assert.throws(() => readAll(Buffer.concat([ping(1), ping(3)]), []), DecodeError);
  const claim = new Uint8Array(20);
  new DataView(claim.buffer).setUint32(0, FRAME_BYTES_MAX, true);
  assert.throws(() => readAll(claim, []), DecodeError);
  assert.throws(() => readAll(stream(FRAMES), [], 48), DecodeError);
});

const FIXTURE = "test/fixtures/peer-frames-v3.bin";

test("frames of version 3 decode for ever", () => {
  const bytes = new Uint8Array(readFileSync(FIXTURE));
  assert.deepEqual(readAll(bytes, []), FRAMES);
  assert.deepEqual(bytes, stream(FRAMES));
});
