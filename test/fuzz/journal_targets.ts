/**
 * Decoders of the journal: records, segment heads, marks and batches of the log, peer frames, checkpoints, memberships.
 *
 * What is read back from a disk behind a checksum is reached by making the checksum right again after most changes.
 * @module
 */
import { readFileSync } from "node:fs";
import type { MemberId } from "../../src/common/ids.ts";
import { bundle, unbundle } from "../../src/journal/bundle.ts";
import {
  decodeFooter,
  decodeManifest,
  encodeSeal,
  FOOTER_BYTES,
} from "../../src/journal/checkpoint_file.ts";
import { encodeFrame, FRAME_HEADER_BYTES, FrameReader } from "../../src/journal/peer_frame.ts";
import {
  decodeDescriptor,
  decodeIdentity,
  encodeDescriptor,
  encodeIdentity,
  RECORD_HEADER_BYTES,
  readBatchHeadAt,
  readRecord,
  WAL_PAGE_BYTES,
  writeRecord,
} from "../../src/journal/record.ts";
import { scanBatches, startOf } from "../../src/journal/segment_file.ts";
import { decodeMark, encodeMark } from "../../src/journal/wal_mark.ts";
import { openKernels } from "../../src/kernels/load.ts";
import { decodeMembership, encodeMembership } from "../../src/raft/membership.ts";
import { SeededRandom } from "../../src/raft/testing.ts";
import { decodeLogObject, encodeLogObject } from "../../src/ufs_journal/log_object.ts";
import type { FuzzTarget } from "./fuzzer.ts";
import { mustEqual } from "./round_trip.ts";

const kernels = openKernels({ flavour: "js", arenaBytes: 64 * 1024 });
const crc32c = (bytes: Uint8Array, seed?: number) => kernels.crc32c(bytes, seed);
const LOG_HEADER_BYTES = 88;
const INCARNATION = 0x0123456789abcdefn;

const fixture = (name: string) => new Uint8Array(readFileSync(`test/fixtures/${name}`));
const segment = () => fixture("wal-v2.bin");
const membershipBytes = () => fixture("membership-v1.bin");

/** Sets the u32 at `at` to the CRC-32C of what `of` gives; too short an input stays as it is. */
function sealed(bytes: Uint8Array, at: number, of: (bytes: Uint8Array) => number): Uint8Array {
  if (bytes.length < at + 4) return bytes;
  const out = bytes.slice();
  new DataView(out.buffer).setUint32(at, of(out), true);
  return out;
}

/** The records of the fixture's batches, each by itself. */
function recordSeeds(): Uint8Array[] {
  const bytes = segment();
  const identity = decodeIdentity(bytes, crc32c);
  const found: Uint8Array[] = [];
  if (identity === null) return found;
  const memory = {
    sizeBytes: bytes.length,
    read: (at: number, length: number) => bytes.subarray(at, at + length),
  };
  scanBatches(memory, "fixture", identity.incarnation, startOf(identity), crc32c, {
    record(_record, at) {
      const length = RECORD_HEADER_BYTES + new DataView(bytes.buffer).getUint32(at, true);
      found.push(bytes.slice(at, at + length));
    },
    batch(_head, at) {
      found.push(bytes.slice(at, at + WAL_PAGE_BYTES));
    },
  });
  return found;
}

const records: FuzzTarget = {
  name: "wal-record",
  weight: 2,
  seeds: recordSeeds,
  run(bytes) {
    const { record, sizeBytes } = readRecord(bytes, 0, crc32c);
    const again = new Uint8Array(sizeBytes);
    writeRecord(again, 0, record, crc32c);
    mustEqual(readRecord(again, 0, crc32c).record, record, "a record");
    return record.kind;
  },
  repair: (bytes) =>
    sealed(bytes, 24, (out) => {
      const view = new DataView(out.buffer);
      if (view.getUint32(0, true) > out.length - RECORD_HEADER_BYTES)
        view.setUint32(0, Math.max(0, out.length - RECORD_HEADER_BYTES), true);
      const end = RECORD_HEADER_BYTES + view.getUint32(0, true);
      const ofHeader = crc32c(out.subarray(0, 24));
      return end === RECORD_HEADER_BYTES
        ? ofHeader
        : crc32c(out.subarray(RECORD_HEADER_BYTES, end), ofHeader);
    }),
};

const identities: FuzzTarget = {
  name: "wal-identity",
  seeds: () => [segment().slice(0, WAL_PAGE_BYTES), segment().slice(0, 84)],
  run(bytes) {
    const identity = decodeIdentity(bytes, crc32c);
    if (identity === null) return "none";
    mustEqual(decodeIdentity(encodeIdentity(identity, crc32c), crc32c), identity, "an identity");
    return "identity";
  },
  repair: (bytes) => sealed(bytes, 80, (out) => crc32c(out.subarray(0, 80))),
};

const descriptors: FuzzTarget = {
  name: "wal-descriptor",
  seeds() {
    const hardState = { term: 3, vote: 7n as MemberId, commitIndex: 9 };
    const place = { sequence: 1, batchNumber: 2, offsetBytes: 65_536, lengthBytes: 4096 };
    const descriptor = {
      incarnation: 5n,
      chain: 1,
      lastIndex: 9,
      lastTerm: 3,
      hardState,
      ...place,
    };
    return [encodeDescriptor(descriptor, crc32c).slice(0, 128)];
  },
  run(bytes) {
    const descriptor = decodeDescriptor(bytes, crc32c);
    if (descriptor === null) return "none";
    const again = decodeDescriptor(encodeDescriptor(descriptor, crc32c), crc32c);
    mustEqual(again, descriptor, "a descriptor");
    return "descriptor";
  },
  repair: (bytes) => sealed(bytes, 96, (out) => crc32c(out.subarray(0, 96))),
};

const marks: FuzzTarget = {
  name: "wal-mark",
  seeds: () => [fixture("wal-begin-v2.bin").slice(0, WAL_PAGE_BYTES)],
  run(bytes) {
    const mark = decodeMark(bytes, crc32c);
    if (mark === null) return "none";
    mustEqual(decodeMark(encodeMark(mark, crc32c), crc32c), mark, "a mark");
    return mark.promised === null ? "begin" : "promised";
  },
  repair: (bytes) =>
    sealed(bytes, 148, (out) => {
      const view = new DataView(out.buffer);
      const room = Math.max(0, out.length - 152);
      if (view.getUint32(144, true) > room) view.setUint32(144, room, true);
      const ofHead = crc32c(out.subarray(0, 148));
      return crc32c(out.subarray(152, 152 + view.getUint32(144, true)), ofHead);
    }),
};

/** A segment of pages whose heads and bodies are changed; the scan must end where the sound part does. */
const batches: FuzzTarget = {
  name: "wal-batches",
  weight: 0.2,
  seeds: () => [
    segment()
      .subarray(0, 16 * 1024)
      .slice(),
    segment().slice(segment().length / 2),
  ],
  run(bytes) {
    const memory = {
      sizeBytes: bytes.length,
      read: (at: number, length: number) => bytes.subarray(at, at + length),
    };
    let count = 0;
    const start = { offsetBytes: 0, previousChain: 0, firstBatchNumber: 1 };
    const identity = decodeIdentity(bytes.subarray(0, WAL_PAGE_BYTES), crc32c);
    const end = scanBatches(
      memory,
      "fuzz",
      identity?.incarnation ?? INCARNATION,
      identity === null ? start : startOf(identity),
      crc32c,
      { record: () => (count += 1), batch: () => {} },
    );
    if (end.offsetBytes > bytes.length && identity === null) throw new Error("past the end");
    for (let at = 0; at < bytes.length; at += WAL_PAGE_BYTES)
      readBatchHeadAt(bytes, at, INCARNATION, crc32c);
    return `${Math.min(count, 9)} records`;
  },
};

/** A chunk of a stream: cut at a place that the input names, so that every cut is tried. */
const frames: FuzzTarget = {
  name: "peer-frames",
  weight: 3,
  seeds() {
    const random = new SeededRandom(1);
    const envelope = { from: 1n as MemberId, to: 2n as MemberId, term: 3 };
    const entry = { index: 8, term: 3, kind: "command", payload: Uint8Array.of(1, 2, 3) } as const;
    const membership = decodeMembership(membershipBytes());
    const messages = [
      { kind: "heartbeat", commitIndex: 5, readContext: 6 },
      { kind: "timeoutNow" },
      { kind: "appendAccepted", matchIndex: 8 },
      { kind: "snapshot", snapshot: { index: 7, term: 2, membership } },
      { kind: "appendEntries", prevLogIndex: 7, prevLogTerm: 2, entries: [entry], leaderCommit: 6 },
    ] as const;
    const sound = messages.map((message) =>
      encodeFrame({ kind: "message", message: { ...envelope, ...message } }, 1, crc32c),
    );
    // Every type with bodies that are not its own.
    const loose = [0, 1, 2, 3, 4, 5, 6, 7, 8].map((type) => {
      const bytes = new Uint8Array(FRAME_HEADER_BYTES + 24);
      bytes.set(sound[0]?.subarray(0, FRAME_HEADER_BYTES) ?? []);
      bytes[4] = type;
      for (let at = FRAME_HEADER_BYTES; at < bytes.length; at++) bytes[at] = random.below(4);
      return bytes;
    });
    return [...sound, ...loose];
  },
  run(bytes) {
    const reader = new FrameReader(crc32c, 64 * 1024);
    const cut = (bytes.at(-1) ?? 0) % (bytes.length + 1);
    let kinds = "";
    for (const part of [bytes.slice(0, cut), bytes.slice(cut)])
      for (const frame of reader.push(part))
        kinds += frame.kind === "message" ? frame.message.kind : frame.kind;
    return kinds.slice(0, 40);
  },
  repair: (bytes) =>
    sealed(bytes, 16, (out) => {
      const view = new DataView(out.buffer);
      view.setUint32(0, Math.max(0, out.length - FRAME_HEADER_BYTES), true);
      view.setUint8(5, bytes[5] === 0 ? 1 : (bytes[5] ?? 1));
      view.setBigUint64(8, 1n, true);
      return crc32c(out.subarray(FRAME_HEADER_BYTES), crc32c(out.subarray(0, 16)));
    }),
};

const checkpoints: FuzzTarget = {
  name: "checkpoint",
  seeds() {
    const membership = decodeMembership(membershipBytes());
    const snapshot = { index: 100, term: 4, membership };
    return [0, 1, 3].map((chunks) =>
      encodeSeal(
        {
          groupId: 9n,
          snapshot,
          imageBytes: chunks * 1024 * 1024,
          crcs: Array.from({ length: chunks }, (_, at) => at),
        },
        crc32c,
      ),
    );
  },
  run(bytes) {
    const at = Math.max(0, bytes.length - FOOTER_BYTES);
    const footer = decodeFooter(bytes.subarray(at), crc32c);
    const manifest = decodeManifest(bytes.subarray(0, at), footer, crc32c);
    const again = encodeSeal(manifest, crc32c);
    const againAt = again.length - FOOTER_BYTES;
    const againFooter = decodeFooter(again.subarray(againAt), crc32c);
    mustEqual(
      decodeManifest(again.subarray(0, againAt), againFooter, crc32c),
      manifest,
      "a manifest",
    );
    return `${Math.min(manifest.crcs.length, 4)} chunks`;
  },
  repair(bytes) {
    const at = bytes.length - FOOTER_BYTES;
    if (at < 0) return bytes;
    const out = bytes.slice();
    const view = new DataView(out.buffer, at);
    view.setUint32(12, at, true);
    view.setUint32(40, crc32c(out.subarray(0, at)), true);
    view.setUint32(60, crc32c(out.subarray(at, at + 60)), true);
    return out;
  },
};

const memberships: FuzzTarget = {
  name: "membership",
  seeds: () => [membershipBytes()],
  run(bytes) {
    const membership = decodeMembership(bytes);
    mustEqual(decodeMembership(encodeMembership(membership)), membership, "a membership");
    return `${Math.min(9, membership.voters.length)} voters`;
  },
};

const bundles: FuzzTarget = {
  name: "bundle",
  seeds: () => [fixture("entry-commands-v1.bin"), bundle([new Uint8Array(3)]).packed.bytes],
  run(bytes) {
    const commands = unbundle(bytes);
    const { packed, ends } = bundle(commands);
    // More than one transaction takes are parted.
    if (ends.length === 1) mustEqual(unbundle(packed.bytes), commands, "a bundle");
    return `${Math.min(4, commands.length)} commands`;
  },
};

const logObjects: FuzzTarget = {
  name: "ufs-log",
  seeds() {
    const both = fixture("ufs-log-v1.bin");
    const { sizeBytes } = decodeLogObject(both, crc32c);
    return [both.slice(0, sizeBytes), both.slice(sizeBytes), both];
  },
  run(bytes) {
    const { object, sizeBytes } = decodeLogObject(bytes, crc32c);
    const again = encodeLogObject(object, crc32c);
    const { object: read } = decodeLogObject(again, crc32c);
    // Reserved bytes are not kept, and are part of the seal.
    mustEqual({ ...read, seal: 0 }, { ...object, seal: 0 }, "a log object");
    return `${Math.min(4, object.entries.length)} entries, ${sizeBytes === bytes.length ? "all" : "more"}`;
  },
  repair(bytes) {
    if (bytes.length < LOG_HEADER_BYTES) return bytes;
    const out = bytes.slice();
    const view = new DataView(out.buffer);
    const end = Math.min(out.length, LOG_HEADER_BYTES + view.getUint32(72, true));
    view.setUint32(72, end - LOG_HEADER_BYTES, true);
    view.setUint32(76, crc32c(out.subarray(LOG_HEADER_BYTES, end)), true);
    view.setUint32(84, crc32c(out.subarray(0, 84)), true);
    return out;
  },
};

export const JOURNAL_TARGETS: readonly FuzzTarget[] = [
  records,
  identities,
  descriptors,
  marks,
  batches,
  frames,
  checkpoints,
  memberships,
  bundles,
  logObjects,
];
