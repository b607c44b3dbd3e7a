/**
 * Checks every byte of a journal folder that means something, and says in full sentences what is wrong. Changes nothing.
 * @module
 */
import { join } from "node:path";
import type { LogIndex } from "../common/ids.ts";
import type { Position } from "../raft/messages.ts";
import { type JournalFileSystem, nodeFileSystem } from "./file_system.ts";
import { type Reading, readFolder } from "./inspect_journal.ts";
import {
  BATCH_HEAD_BYTES,
  type Crc32c,
  DESCRIPTORS_OFFSET,
  decodeDescriptor,
  decodeIdentity,
  readBatchHeadAt,
  type SegmentIdentity,
  WAL_PAGE_BYTES,
} from "./record.ts";
import { endOfBytes, readWholeBatch } from "./segment_file.ts";
import type { SegmentBytes } from "./segment_window.ts";
import { MARK_FILE } from "./wal_mark.ts";
import { type FoundSegment, withSegment } from "./wal_scan.ts";

/**
 * damaged: acknowledged bytes are unreadable. torn: a crash cut off what was never acknowledged; the next start drops it.
 * spare: a copy or a proof is damaged that nothing needs now; the next start, or the next writes, mend it.
 */
export type JournalProblem = {
  readonly severity: "damaged" | "torn" | "spare";
  readonly path: string;
  readonly offsetBytes: number;
  /** What happened, where, and to which entries. */
  readonly text: string;
  readonly remedy: string;
};

export type JournalReport = {
  readonly segmentCount: number;
  readonly batchCount: number;
  readonly checkedBytes: number;
  /** The entries that can be read without a gap. */
  readonly firstIndex: LogIndex;
  readonly lastIndex: LogIndex;
  /** What was acknowledged beyond that, and is to be fetched from peers. */
  readonly promised: Position | null;
  readonly problems: readonly JournalProblem[];
};

const DAMAGE_REMEDY =
  "Start the master: it drops what its metadata store holds already, and fetches the rest from the other masters. If " +
  "there are none, restore a backup, or give up the entries with `bin/rockpool journal repair`";
const MARK_REMEDY =
  "If other masters hold the log, move the folder away, run `bin/rockpool init format` and start: this master joins them " +
  "as a new member. If this is the only one, run `bin/rockpool journal repair`";
const SPARE_REMEDY = "Nothing is lost. Check the disk";

class Verifier {
  readonly #reading: Reading;
  readonly problems: JournalProblem[] = [];
  batchCount = 0;
  checkedBytes = 0;
  /** The last batch that was readable, and where the log stood after it. */
  #chain: { chain: number; batchNumber: number; index: LogIndex } | null = null;
  #hole: { readonly path: string; readonly offsetBytes: number; readonly after: LogIndex } | null =
    null;

  constructor(reading: Reading) {
    this.#reading = reading;
  }

  run(): void {
    const { found, mark, used } = this.#reading;
    this.#checkMark();
    const inUse = found.filter(({ sequence }) => sequence >= mark.start.sequence);
    const last = inUse.findLast(({ kind }) => kind !== "unused")?.sequence ?? 0;
    for (let sequence = mark.start.sequence; sequence <= last; sequence++) {
      const segment = inUse.find((each) => each.sequence === sequence);
      const path = join(this.#reading.walk.folder, `wal-${String(sequence).padStart(16, "0")}`);
      if (segment === undefined) this.#hole ??= { path, offsetBytes: 0, after: this.#lastIndex() };
      else this.#checkSegment(segment, inUse[inUse.indexOf(segment) + 1]);
    }
    this.#closeTail(used.length > 0);
    if (last < mark.lastSequence)
      this.#say("damaged", join(this.#reading.walk.folder, MARK_FILE), 0, {
        text: `segment ${mark.lastSequence} was begun, and its file is missing or empty`,
        remedy: MARK_REMEDY,
      });
  }

  #say(
    severity: JournalProblem["severity"],
    path: string,
    offsetBytes: number,
    { text, remedy }: { readonly text: string; readonly remedy: string },
  ): void {
    const place = `Journal file ${path}, byte ${offsetBytes}`;
    this.problems.push({ severity, path, offsetBytes, text: `${place}: ${text}`, remedy });
  }

  #checkMark(): void {
    const path = join(this.#reading.walk.folder, MARK_FILE);
    const { markState } = this.#reading;
    if (markState === "oneCopy")
      this.#say("spare", path, 0, { text: "one of two copies is damaged", remedy: SPARE_REMEDY });
    else if (markState !== "sound")
      this.#say("damaged", path, 0, {
        text: markState === "none" ? "the file is missing" : "both copies are damaged",
        remedy: MARK_REMEDY,
      });
  }

  #lastIndex(): LogIndex {
    return this.#chain?.index ?? this.#reading.mark.begin.index;
  }

  #checkSegment(segment: FoundSegment, next: FoundSegment | undefined): void {
    if (segment.kind === "unused") return;
    withSegment(this.#reading.walk, segment.path, (bytes) => {
      this.checkedBytes += bytes.sizeBytes;
      if (segment.kind === "lost")
        this.#hole ??= { path: segment.path, offsetBytes: 0, after: this.#lastIndex() };
      else this.#checkHead(bytes, segment.path, segment.identity);
      const endNumber =
        next?.kind === "used" ? next.identity.firstBatchNumber : Number.POSITIVE_INFINITY;
      this.#checkBatches(bytes, segment, endNumber);
    });
  }

  #checkHead(bytes: SegmentBytes, path: string, identity: SegmentIdentity): void {
    const { crc32c } = this.#reading.walk;
    for (const at of [0, WAL_PAGE_BYTES])
      if (decodeIdentity(bytes.read(at, WAL_PAGE_BYTES), crc32c) === null)
        this.#say("spare", path, at, {
          text: "one of two copies of the segment's identity is damaged",
          remedy: SPARE_REMEDY,
        });
    for (let at = DESCRIPTORS_OFFSET; at < identity.dataOffset; at += WAL_PAGE_BYTES) {
      const page = bytes.read(at, WAL_PAGE_BYTES);
      const isBlank = page.every((byte) => byte === 0);
      if (!isBlank && decodeDescriptor(page, crc32c) === null)
        this.#say("spare", path, at, {
          text: "a batch descriptor is damaged; the batch is not",
          remedy: SPARE_REMEDY,
        });
    }
    if (this.#chain !== null && identity.firstBatchNumber > this.#chain.batchNumber + 1)
      this.#hole ??= { path, offsetBytes: 0, after: this.#chain.index };
  }

  #checkBatches(bytes: SegmentBytes, segment: FoundSegment, endNumber: number): void {
    const { owner, crc32c } = this.#reading.walk;
    const { start } = this.#reading.mark;
    const dataOffset = segment.kind === "used" ? segment.identity.dataOffset : DESCRIPTORS_OFFSET;
    let at = segment.sequence === start.sequence ? start.offsetBytes || dataOffset : dataOffset;
    while (at < bytes.sizeBytes) {
      // What a repair gave up lies behind the end of its segment.
      if ((this.#chain?.batchNumber ?? 0) + 1 === endNumber) return;
      const head = readBatchHeadAt(bytes.read(at, BATCH_HEAD_BYTES), 0, owner.incarnation, crc32c);
      const isNews = head !== null && head.batchNumber > (this.#chain?.batchNumber ?? 0);
      if (!isNews || readWholeBatch(bytes, at, head, crc32c) === null) {
        this.#hole ??= { path: segment.path, offsetBytes: at, after: this.#lastIndex() };
        at += WAL_PAGE_BYTES;
        continue;
      }
      const { chain, batchNumber, lastIndex, previousChain } = head;
      const isNext =
        this.#chain === null ||
        (this.#chain.batchNumber + 1 === batchNumber && this.#chain.chain === previousChain);
      if (!isNext) this.#hole ??= { path: segment.path, offsetBytes: at, after: this.#lastIndex() };
      this.#closeHole(head.previousIndex, head.previousTerm);
      this.batchCount += 1;
      this.#chain = { chain, batchNumber, index: lastIndex };
      at += BATCH_HEAD_BYTES + head.bodyBytes;
    }
  }

  /** Something readable comes after what is not. */
  #closeHole(index: LogIndex, term: number): void {
    const hole = this.#hole;
    this.#hole = null;
    if (hole === null) return;
    this.#say("damaged", hole.path, hole.offsetBytes, {
      text: rangeText(hole.after, { index, term }),
      remedy: DAMAGE_REMEDY,
    });
  }

  /** What is not readable at the end is blank, torn, or was proven to be durable. */
  #closeTail(isBegun: boolean): void {
    const { survey, walk, found } = this.#reading;
    const hole = this.#hole;
    this.#hole = null;
    if (hole === null || !isBegun) {
      if (hole !== null) this.#sayLost(hole);
      return;
    }
    const isProven = (survey.newest?.batchNumber ?? 0) > (this.#chain?.batchNumber ?? 0);
    if (isProven) {
      this.#sayLost(hole);
      return;
    }
    const file = found.find(({ path }) => path === hole.path);
    if (file === undefined) return;
    const endBytes = withSegment(walk, hole.path, (bytes) =>
      endOfBytes(bytes, hole.offsetBytes, bytes.sizeBytes),
    );
    if (endBytes > hole.offsetBytes)
      this.#say("torn", hole.path, hole.offsetBytes, {
        text: `${endBytes - hole.offsetBytes} B after entry ${hole.after} were cut off by a crash, and acknowledged to nobody`,
        remedy: "None is needed: the next start drops them",
      });
  }

  #sayLost(hole: { path: string; offsetBytes: number; after: LogIndex }): void {
    const last = this.#reading.survey.newest?.position ?? { index: hole.after, term: 0 };
    const text = rangeText(hole.after, last);
    this.#say("damaged", hole.path, hole.offsetBytes, { text, remedy: DAMAGE_REMEDY });
  }
}

function rangeText(after: LogIndex, last: Position): string {
  return last.index > after
    ? `damaged after entry ${after}; entries ${after + 1} to ${last.index} are unreadable`
    : `damaged after entry ${after}; a term or a vote may be unreadable`;
}

/** @throws RockpoolError FAILED_PRECONDITION when a file is of another format or another journal's */
export function verifyJournal(
  folder: string,
  crc32c: Crc32c,
  fileSystem: JournalFileSystem = nodeFileSystem(),
): JournalReport {
  const reading = readFolder(fileSystem, folder, crc32c);
  if (reading === null)
    return {
      segmentCount: 0,
      batchCount: 0,
      checkedBytes: 0,
      firstIndex: 1,
      lastIndex: 0,
      promised: null,
      problems: [],
    };
  const verifier = new Verifier(reading);
  verifier.run();
  const { batchCount, checkedBytes, problems } = verifier;
  const { index } = reading.replay;
  return {
    segmentCount: reading.found.filter(({ kind }) => kind !== "unused").length,
    batchCount,
    checkedBytes,
    firstIndex: index.firstIndex,
    lastIndex: index.lastIndex,
    promised: reading.mark.promised,
    problems,
  };
}
