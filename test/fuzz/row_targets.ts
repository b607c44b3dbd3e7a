/**
 * Decoders of what masters and workers keep: journal commands, rows of the metadata store, checksum files.
 * @module
 */
import { readFileSync } from "node:fs";
import { openKernels } from "../../src/kernels/load.ts";
import { decodeEntry, encodeEntry } from "../../src/master/command.ts";
import {
  dedupeRow,
  idsRow,
  inodeRow,
  intentRow,
  lengthRow,
  mountRow,
  pathConfigurationRow,
  persistRow,
  positionRow,
  restoreRow,
  stateRow,
} from "../../src/master/inode.ts";
import { decodePageChecksums, encodePageChecksums } from "../../src/worker/page_checksums.ts";
import type { FuzzTarget } from "./fuzzer.ts";
import { mustEqual } from "./round_trip.ts";

const kernels = openKernels({ flavour: "js", arenaBytes: 64 * 1024 });

type RowCodec<T> = {
  readonly encode: (value: T) => Uint8Array;
  readonly decode: (bytes: Uint8Array) => T;
};

/** What decodes must encode to bytes that decode to the same: else two masters could come to differ. */
function roundTrip<T>({ encode, decode }: RowCodec<T>, bytes: Uint8Array): T {
  const value = decode(bytes);
  mustEqual(decode(encode(value)), value, "a row");
  return value;
}

const commands: FuzzTarget = {
  name: "command",
  weight: 3,
  seeds() {
    const bytes = readFileSync("test/fixtures/commands-v1.bin");
    const found: Uint8Array[] = [];
    for (let at = 0; at < bytes.length; ) {
      const length = bytes.readUInt32LE(at);
      found.push(new Uint8Array(bytes.subarray(at + 4, at + 4 + length)));
      at += 4 + length;
    }
    return found;
  },
  run: (bytes) => roundTrip({ encode: encodeEntry, decode: decodeEntry }, bytes).command.kind,
};

const ROWS: Readonly<Record<string, (bytes: Uint8Array) => unknown>> = {
  inode: (bytes) => roundTrip(inodeRow, bytes),
  mount: (bytes) => roundTrip(mountRow, bytes),
  persist: (bytes) => roundTrip(persistRow, bytes),
  intent: (bytes) => roundTrip(intentRow, bytes),
  dedupe: (bytes) => roundTrip(dedupeRow, bytes),
  length: (bytes) => roundTrip(lengthRow, bytes),
  state: (bytes) => roundTrip(stateRow, bytes),
  position: (bytes) => roundTrip(positionRow, bytes),
  restore: (bytes) => roundTrip(restoreRow, bytes),
  ids: (bytes) => roundTrip(idsRow, bytes),
  path_configuration: (bytes) => roundTrip(pathConfigurationRow, bytes),
};

const rows: readonly FuzzTarget[] = Object.entries(ROWS).map(([name, decode]) => ({
  name: `row-${name}`,
  seeds: () =>
    readFileSync("test/fixtures/rows-v3.hex", "utf8")
      .trim()
      .split("\n")
      .map((line) => new Uint8Array(Buffer.from(line, "hex"))),
  run(bytes) {
    decode(bytes);
    return "row";
  },
}));

const CHECKSUM_BYTES = 4;
const checksums: FuzzTarget = {
  name: "page-checksums",
  seeds: () => [new Uint8Array(readFileSync("test/fixtures/worker/page_checksums_v1.bin"))],
  run(bytes) {
    const value = decodePageChecksums(bytes, kernels);
    if (Buffer.compare(encodePageChecksums(value, kernels), bytes) !== 0)
      throw new Error("a checksum file has two spellings");
    return `${Math.min(value.crcs.length, 9)} pages`;
  },
  repair(bytes) {
    const end = bytes.length - CHECKSUM_BYTES;
    if (end < 0) return bytes;
    const out = bytes.slice();
    new DataView(out.buffer).setUint32(end, kernels.crc32c(out.subarray(0, end)), true);
    return out;
  },
};

export const ROW_TARGETS: readonly FuzzTarget[] = [commands, ...rows, checksums];
