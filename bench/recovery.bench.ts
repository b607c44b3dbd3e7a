/**
 * How fast a restart reads the write-ahead log back: every batch checked, every entry placed, with the kernels in
 * WebAssembly and with those in TypeScript, beside the bare reading of the same files. The log is warm in the page cache,
 * so this is what the processor takes; a cold one takes what the disk takes.
 *
 * `--mib=N` sets the size of the log (256).
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
import { type BenchResult, numberFlag, percentile, report } from "./harness.ts";

const MIB = 1024 * 1024;
const ROUNDS = 5;
const ENTRY_BYTES = 200;
/** As a group commit under load makes it. */
const ENTRIES_PER_BATCH = 256;
const READ_BYTES = 2 * MIB;

const logMib = numberFlag("mib", 256);

function crcOf(flavour: "wasm" | "js"): Crc32c {
  const kernels = openKernels({ flavour, arenaBytes: 64 * 1024 });
  return (bytes, seed) => kernels.crc32c(bytes, seed);
}

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

/** Writes a log of `logMib`; returns the index of its last entry. */
async function write(folder: string): Promise<number> {
  const wal = await openWal({
    ...base,
    folder,
    crc32c: crcOf("wasm"),
    timers: nodeWorld().timers,
    clock: nodeWorld().clock,
    scrubIntervalMs: 0,
    onEvent: () => {},
    onFailure: ({ error }) => {
      throw error;
    },
  });
  const payload = new Uint8Array(ENTRY_BYTES).map((_, at) => (at * 31) & 0xff);
  let index = 0;
  const hardState = { term: 1, vote: memberId, commitIndex: 0 };
  for (let bytes = 0; bytes < logMib * MIB; bytes += ENTRIES_PER_BATCH * (ENTRY_BYTES + 28)) {
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

function recover(folder: string, crc32c: Crc32c, lastIndex: number): void {
  const { index } = recoverWal({ ...base, folder, crc32c });
  if (index.lastIndex !== lastIndex) throw new Error(`It ends at ${index.lastIndex}`);
}

/** Reads the segments that hold something; the spare one does not count. @returns their bytes */
function readOnly(folder: string, _crc32c: Crc32c, _lastIndex: number): number {
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

function resultOf(name: string, bytes: number, roundsNs: readonly number[]): BenchResult {
  const round = (value: number) => Number(value.toPrecision(4));
  const bestNsPerCall = percentile(roundsNs, 0);
  const medianNsPerCall = percentile(roundsNs, 0.5);
  return {
    name,
    bestNsPerCall: round(bestNsPerCall),
    medianNsPerCall: round(medianNsPerCall),
    bestGBps: round(bytes / bestNsPerCall),
    medianGBps: round(bytes / medianNsPerCall),
  };
}

const folder = mkdtempSync(join(tmpdir(), "rockpool-recovery-"));
try {
  const lastIndex = await write(folder);
  const bytes = readOnly(folder, crcOf("wasm"), lastIndex);
  const rivals = [
    { name: "recovery, WebAssembly", run: recover, crc32c: crcOf("wasm") },
    { name: "recovery, TypeScript", run: recover, crc32c: crcOf("js") },
    { name: "reading alone", run: readOnly, crc32c: crcOf("wasm") },
  ].map((rival) => ({ ...rival, roundsNs: [] as number[] }));
  for (let round = 0; round < ROUNDS; round++)
    for (const { run, crc32c, roundsNs } of rivals) {
      const start = process.hrtime.bigint();
      run(folder, crc32c, lastIndex);
      roundsNs.push(Number(process.hrtime.bigint() - start));
    }
  const results = rivals.map(({ name, roundsNs }) => resultOf(name, bytes, roundsNs));
  const title = `A log of ${Math.round(bytes / MIB)} MiB, ${lastIndex} entries of ${ENTRY_BYTES} B`;
  const [wasm, js] = results;
  const ratio = (wasm?.bestGBps ?? 0) / (js?.bestGBps ?? 1);
  report(
    "recovery",
    [{ title, results }],
    [{ text: "WebAssembly against TypeScript", value: ratio, min: 1 }],
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}
