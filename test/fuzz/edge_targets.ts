/**
 * What edge clients send, what workers and masters send to each other for them, and the file of tokens.
 * @module
 */
import { StretchParser, stretchesOf } from "../../src/edge/block_url.ts";
import { decodeFrame, encodeFrame, FRAME, HEADER_BYTES } from "../../src/edge/frame.ts";
import { parseHello, parseRequest } from "../../src/edge/parse_request.ts";
import { parseTokens, signToken, verifyToken } from "../../src/edge/tokens.ts";
import { crc32c } from "../../src/kernels/fallback.ts";
import type { FuzzTarget } from "./fuzzer.ts";
import { mustEqual } from "./round_trip.ts";

const utf8 = new TextEncoder();
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("utf8");

const REQUESTS = [
  { op: "status", path: "/a" },
  { op: "list", path: "/", after: "a", limit: 10 },
  { op: "read", path: "/a", offset: 1, length: 2, etag: '"x"' },
  { op: "readMany", ranges: [{ path: "/a", offset: 0, length: 5, etag: '"x"' }] },
  { op: "write", path: "/a", length: 5, overwrite: true },
  { op: "delete", path: "/a", recursive: true, operation: "0123456789abcdef0123456789abcdef" },
  { op: "rename", path: "/a", to: "/b", overwrite: false },
  { op: "watch", path: "/a", recursive: true },
  { op: "locate", path: "/a" },
].map((request) => utf8.encode(JSON.stringify(request)));

const frames: FuzzTarget = {
  name: "edge-frame",
  seeds: () => [
    ...REQUESTS.map((payload) =>
      encodeFrame({ type: FRAME.request, id: 7, argument: 1 << 20 }, payload, crc32c),
    ),
    encodeFrame({ type: FRAME.data, id: 1, isLast: true }, new Uint8Array(0), crc32c),
  ],
  run(bytes) {
    const frame = decodeFrame(bytes, crc32c);
    if (typeof frame === "string") return frame;
    const { payload, ...header } = frame;
    mustEqual([...encodeFrame(header, payload, crc32c)], [...bytes], "the frame");
    return `type ${frame.type} ${frame.isLast}`;
  },
  repair(bytes) {
    if (bytes.length < HEADER_BYTES) return bytes;
    const copy = bytes.slice();
    const crc = crc32c(copy.subarray(HEADER_BYTES), crc32c(copy.subarray(0, 12)));
    new DataView(copy.buffer).setUint32(12, crc, true);
    return copy;
  },
};

const requests: FuzzTarget = {
  name: "edge-request",
  seeds: () => [...REQUESTS, utf8.encode('{"version":1,"token":"t","frameBytes":65536}')],
  run(bytes) {
    try {
      const hello = parseHello(bytes);
      return `hello ${hello.token === undefined}`;
    } catch {
      // No HELLO: then it is a request, or nothing.
      return parseRequest(bytes).op;
    }
  },
};

const stretches: FuzzTarget = {
  name: "edge-stretches",
  seeds: () =>
    [[5], [3, 70_000, 1], [65_536, 65_536]].map((lengths) => {
      const bytes = new Uint8Array(lengths.reduce((sum, length) => sum + length, 0)).fill(9);
      const sums = lengths.map((lengthBytes) => ({ lengthBytes, crc: 77 }));
      return Buffer.concat([Uint8Array.of(lengths.length), stretchesOf({ bytes, sums })]);
    }),
  run(bytes) {
    const size = 1 + ((bytes[0] ?? 0) % 64) * 997;
    const read = (by: number) => {
      const parser = new StretchParser();
      const found: { bytes: Uint8Array; sums: unknown }[] = [];
      try {
        for (let at = 1; at < bytes.length; at += by)
          found.push(...parser.push(Buffer.from(bytes.subarray(at, at + by))));
      } catch (error) {
        if (!/^a stretch of/.test((error as Error).message)) throw error;
      }
      found.push(...parser.flush());
      return {
        bytes: text(Buffer.concat(found.map((one) => one.bytes))),
        sums: found.flatMap((one) => one.sums),
      };
    };
    // However it arrives, it is the same.
    const whole = read(bytes.length);
    mustEqual(read(size), whole, "the stretches");
    return `${Math.min(whole.sums.length, 4)}`;
  },
};

const SECRET = new Uint8Array(32).fill(3);

const tokens: FuzzTarget = {
  name: "edge-tokens",
  seeds: () => [
    utf8.encode("# who\nann read 0123456789abcdef\nbob write fedcba9876543210\n"),
    utf8.encode(signToken({ user: "ann", canWrite: true, expiresMs: 9e15 }, SECRET)),
  ],
  run(bytes) {
    const identity = verifyToken(text(bytes), SECRET, 0);
    if (identity !== null) return `signed ${identity.canWrite}`;
    return `${Math.min(parseTokens(text(bytes), "tokens").size, 3)} tokens`;
  },
};

export const EDGE_TARGETS: readonly FuzzTarget[] = [frames, requests, stretches, tokens];
