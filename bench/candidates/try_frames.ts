/**
 * Frame parse: headers and checksums, of messages of the edge protocol and of rows of frames between masters.
 * @module
 */
import assert from "node:assert/strict";
import type { MemberId } from "../../src/common/ids.ts";
import { decodeFrame, encodeFrame, FRAME } from "../../src/edge/frame.ts";
import {
  encodeFrame as encodePeerFrame,
  FRAME_BYTES_MAX,
  FrameReader,
} from "../../src/journal/peer_frame.ts";
import type { Crc32c } from "../../src/journal/record.ts";
import { crc32c as plainCrc32c } from "../../src/kernels/fallback.ts";
import { openKernels } from "../../src/kernels/load.ts";
import type { Entry, Message } from "../../src/raft/messages.ts";
import { type Figures, nsOf, sink } from "./figures.ts";
import { edgeFrameKernel, parsePeerFrames, peerChunk, peerFrameKernel } from "./frames.ts";
import type { ClusterCosts } from "./places.ts";
import { openCandidates } from "./wasm.ts";

const KiB = 1024;
const HERE = "TypeScript, CRCs by the kernel (what there is)";
const PLAIN = "TypeScript, CRCs by TypeScript";
const WASM = "WebAssembly, one call";
const kernels = openKernels({ flavour: "wasm", arenaBytes: 64 * KiB });
const crc32c: Crc32c = (bytes, seed) => kernels.crc32c(bytes, seed);

export function tryEdgeFrames(
  figures: Figures,
  module: WebAssembly.Module,
  costs: ClusterCosts,
): void {
  const words = new TextEncoder().encode('{"op":"read","path":"/some/file","offset":0,"length":5}');
  const frame = (type: number, payload: Uint8Array) =>
    encodeFrame({ type, id: 7, argument: 1 << 20 }, payload, crc32c);
  const messages = [
    { name: "CREDIT, 16 B", message: frame(FRAME.credit, new Uint8Array(0)) },
    { name: "REQUEST, 71 B", message: frame(FRAME.request, words) },
    { name: "DATA, 256 KiB", message: frame(FRAME.data, new Uint8Array(256 * KiB).fill(3)) },
  ];
  const kernel = edgeFrameKernel(openCandidates(module, 512 * KiB));
  for (const { name, message } of messages) {
    assert.deepEqual(kernel(message), decodeFrame(message, crc32c));
    const damaged = message.slice();
    damaged[5] = 1;
    assert.equal(kernel(damaged), null);
    const items = message.length > KiB ? 1 : 64;
    const times = (parse: () => unknown) => () => {
      for (let item = 0; item < items; item++) if (typeof parse() === "string") sink.value++;
    };
    const rows = figures.compare(`Frame of the edge protocol: ${name}`, items, [
      { name: HERE, run: times(() => decodeFrame(message, crc32c)) },
      { name: PLAIN, run: times(() => decodeFrame(message, plainCrc32c)) },
      { name: WASM, run: times(() => kernel(message)) },
    ]);
    const best = Math.min(nsOf(rows, HERE), nsOf(rows, PLAIN));
    if (name.startsWith("REQUEST"))
      figures.judge("frame parse, a request", nsOf(rows, WASM), best, {
        path: "CPU of the leader for a small request of an edge client",
        pathNs: costs.edgeRequestNs,
        times: 1,
      });
    if (name.startsWith("DATA"))
      figures.judge("frame parse, data, checksum and all", nsOf(rows, WASM), best, {
        path: "CPU of the leader for 256 KiB passed on to an edge client",
        pathNs: costs.edgeDataFrameNs,
        times: 1,
      });
  }
}

const PEER_FRAMES = 256;
const ENTRIES = 64;
const BATCH = "TypeScript, one DataView, CRCs by the kernel";
const WASM_BATCH = "WebAssembly, one call for all";
/** Of a sole master at 1024 proposers (`bench/results/journal.json`); three masters need more. */
const COMMIT_CPU_NS = 1300;

function framesIn(chunk: Uint8Array): number {
  let count = 0;
  for (const _ of new FrameReader(crc32c, FRAME_BYTES_MAX).push(chunk)) count++;
  return count;
}

export function tryPeerFrames(figures: Figures, module: WebAssembly.Module): void {
  const chunk = peerChunk(PEER_FRAMES, crc32c);
  const words = new Uint32Array(3 * PEER_FRAMES);
  const kernel = peerFrameKernel(openCandidates(module, 64 * KiB), PEER_FRAMES);
  const plain = parsePeerFrames(chunk, FRAME_BYTES_MAX, crc32c, words);
  const found = kernel(chunk, FRAME_BYTES_MAX);
  assert.equal(plain.count, PEER_FRAMES);
  assert.equal(found.count, PEER_FRAMES);
  assert.deepEqual(found.words, plain.words);
  assert.equal(framesIn(chunk), PEER_FRAMES);
  const title = `Small frames between masters, ${PEER_FRAMES} in ${chunk.length} B: a frame`;
  const rows = figures.compare(title, PEER_FRAMES, [
    { name: "FrameReader (what there is, and decodes bodies)", run: () => void framesIn(chunk) },
    { name: BATCH, run: () => void parsePeerFrames(chunk, FRAME_BYTES_MAX, crc32c, words) },
    { name: PLAIN, run: () => void parsePeerFrames(chunk, FRAME_BYTES_MAX, plainCrc32c, words) },
    { name: WASM_BATCH, run: () => void kernel(chunk, FRAME_BYTES_MAX) },
  ]);
  const entries = Array.from(
    { length: ENTRIES },
    (_, at): Entry => ({ index: 1 + at, term: 1, kind: "command", payload: new Uint8Array(200) }),
  );
  const message: Message = {
    kind: "appendEntries",
    from: 1n as MemberId, // the brand only keeps kinds of ids apart
    to: 2n as MemberId, // as above
    ...{ term: 1, prevLogIndex: 0, prevLogTerm: 0, entries, leaderCommit: 0 },
  };
  const append = encodePeerFrame({ kind: "message", message }, 1, crc32c);
  const [whole] = figures.compare(`An append of ${ENTRIES} entries of 200 B, by FrameReader`, 1, [
    { name: "whole", run: () => void framesIn(append) },
  ]);
  const best = Math.min(nsOf(rows, BATCH), nsOf(rows, PLAIN));
  figures.judge("frame parse, between masters", nsOf(rows, WASM_BATCH), best, {
    path: `CPU for a commit of ${ENTRIES} entries`,
    pathNs: ENTRIES * COMMIT_CPU_NS + (whole?.bestNs ?? 0),
    // The append and its answer.
    times: 2,
  });
}
