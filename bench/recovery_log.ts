/**
 * A write-ahead log to be recovered: written as under load, then read back as a restart does it.
 * @module
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { MemberId } from "../src/common/ids.ts";
import { nodeFileSystem } from "../src/journal/file_system.ts";
import type { Crc32c } from "../src/journal/record.ts";
import { listSegments, SEGMENT_BYTES } from "../src/journal/segment_file.ts";
import { openWal } from "../src/journal/wal.ts";
import { recoverWal } from "../src/journal/wal_recovery.ts";
import { pathOfSegment } from "../src/journal/wal_scan.ts";
import { openKernels } from "../src/kernels/load.ts";
import type { Entry } from "../src/raft/messages.ts";
import { nodeWorld } from "../src/world/node_world.ts";

const MIB = 1024 * 1024;
export const ENTRY_BYTES = 200;
/** As a group commit under load makes it. */
const ENTRIES_PER_BATCH = 256;
const READ_BYTES = 2 * MIB;

const fileSystem = nodeFileSystem();
const memberId = 1n as MemberId; // the brand only keeps kinds of ids apart
const base = {
  fileSystem,
  owner: { memberId, incarnation: 7n, groupId: 9n },
  membership: { voters: [memberId], learners: [], addresses: new Map() },
  covered: { index: 0, term: 0, membership: null },
  segmentBytes: SEGMENT_BYTES,
  cacheBytesMax: 0,
};

export function crcOf(flavour: "wasm" | "js"): Crc32c {
  const kernels = openKernels({ flavour, arenaBytes: 64 * 1024 });
  return (bytes, seed) => kernels.crc32c(bytes, seed);
}

export type RecoveryLog = {
  readonly lastIndex: number;
  /** Of the segments that hold something. */
  readonly bytes: number;
  /** Checks every batch and places every entry. */
  recover(crc32c: Crc32c): void;
  /** Reads the same files and does nothing else. */
  readOnly(): void;
  remove(): void;
};

/** Writes a log of so many MiB into a temporary folder; it is warm in the page cache then. */
export async function writeRecoveryLog(mib: number): Promise<RecoveryLog> {
  const folder = mkdtempSync(join(tmpdir(), "rockpool-recovery-"));
  const lastIndex = await write(folder, mib);
  return {
    lastIndex,
    bytes: readSegments(folder),
    recover(crc32c) {
      const { index } = recoverWal({ ...base, folder, crc32c });
      if (index.lastIndex !== lastIndex) throw new Error(`It ends at ${index.lastIndex}`);
    },
    readOnly: () => void readSegments(folder),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** @returns the index of the last entry */
async function write(folder: string, mib: number): Promise<number> {
  const { timers, clock } = nodeWorld();
  const wal = await openWal({
    ...{ ...base, folder, timers, clock },
    crc32c: crcOf("wasm"),
    scrubIntervalMs: 0,
    onEvent: () => {},
    onFailure: ({ error }) => {
      throw error;
    },
  });
  const payload = new Uint8Array(ENTRY_BYTES).map((_, at) => (at * 31) & 0xff);
  let index = 0;
  const hardState = { term: 1, vote: memberId, commitIndex: 0 };
  for (let bytes = 0; bytes < mib * MIB; bytes += ENTRIES_PER_BATCH * (ENTRY_BYTES + 28)) {
    const entries: Entry[] = Array.from({ length: ENTRIES_PER_BATCH }, (_, at) => ({
      index: index + 1 + at,
      term: 1,
      kind: "command",
      payload,
    }));
    index += ENTRIES_PER_BATCH;
    await new Promise<void>((done) => wal.append(hardState, entries, done));
  }
  await wal.close();
  return index;
}

/** Those that hold something; the spare one does not count. @returns their bytes */
function readSegments(folder: string): number {
  const buffer = new Uint8Array(READ_BYTES);
  let bytes = 0;
  for (const sequence of listSegments(fileSystem, folder).slice(0, -1)) {
    const file = fileSystem.openSync(pathOfSegment(folder, sequence), "read");
    for (let count = file.readSync(buffer, 0), at = 0; count > 0; ) {
      bytes += count;
      at += count;
      count = file.readSync(buffer, at);
    }
    file.close();
  }
  return bytes;
}
