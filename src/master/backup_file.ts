/**
 * The file of a backup: the rows of a namespace, whole and in order of their keys. It knows nothing of the store they come from.
 *
 * Little-endian; `text`, `varint` and structs as in common/bytes and common/codec:
 *
 *     header   0  8 B  "RPBACKUP"       8  u32 version (1)      12  u32 length of what follows
 *             16  struct {@link BackupHeader}
 *              …  u32  CRC-32C of everything before
 *     block    0  u8   0x42 'B'         1  u32 length of the rows              5  u32 count of the rows
 *              9  rows, each: varint length, key, varint length, value
 *              …  u32  CRC-32C of everything of the block before
 *     …        blocks, each of at least one row and at most {@link BLOCK_BYTES_MAX} of them
 *     trailer  0  u8   0x45 'E'         1  u32 length of what follows
 *              5  struct {@link BackupTrailer}
 *              …  u32  CRC-32C of everything of the trailer before
 *
 * Nothing comes after it. The digest is the SHA-256 of the rows one after the other as they stand in the blocks: two namespaces with
 * equal rows have equal digests, however their rows are cut into blocks. Cut or damaged files are told by lengths, CRCs, the
 * counts and the digest, in this order; test/fixtures/backup-v1.bin must be readable for ever.
 * @module
 */
import { createHash, type Hash } from "node:crypto";
import { ByteReader, ByteWriter, DecodeError } from "../common/bytes.ts";
import {
  bytes,
  type Codec,
  decode,
  encode,
  struct,
  text,
  uint,
  type ValueOf,
} from "../common/codec.ts";
import { RockpoolError } from "../common/errors.ts";
import { crc32c } from "../kernels/fallback.ts";
import type { KeyValue } from "../kv/kv.ts";
import { TABLE } from "./inode.ts";
import { checkRow } from "./row_check.ts";

const MAGIC = "RPBACKUP";
const VERSION = 1;
const BLOCK_TAG = 0x42;
const TRAILER_TAG = 0x45;
const CRC_BYTES = 4;
const FIXED_HEADER_BYTES = 16;
const BLOCK_HEADER_BYTES = 9;
const TRAILER_HEADER_BYTES = 5;
/** Rows of a block, as they are written: about what is read and hashed in a millisecond. */
const BLOCK_BYTES = 32 * 1024;
/** One row more may be in it, and a row fits into an entry of the journal. */
export const BLOCK_BYTES_MAX = BLOCK_BYTES + 1024 * 1024;
const HEADER_BYTES_MAX = 64 * 1024;
const READ_AHEAD_BYTES = 1024 * 1024;
const KEY_BYTES_MAX = 1978;

const header = struct({
  madeAtMs: uint,
  /** Of the master that made it. */
  host: text,
  clusterId: text,
  /** Everything through this entry of the journal is in it. */
  index: uint,
  term: uint,
  /** Of the rows; see STORE_SCHEMA_VERSION. */
  schemaVersion: uint,
  /** Container ids below it may be in use. */
  nextContainerId: uint,
});
export type BackupHeader = ValueOf<typeof header>;

const trailer = struct({
  rowCount: uint,
  /** Of files and directories. */
  entryCount: uint,
  digest: bytes,
});
export type BackupTrailer = ValueOf<typeof trailer>;

export type BackupSummary = { readonly header: BackupHeader } & BackupTrailer;

/** Where a backup is written: a writer of an under file system is one. */
export interface BackupSink {
  /** Appends. The bytes may be reused when the promise resolves. */
  write(bytes: Uint8Array): Promise<void>;
}

/** Where a backup is read: a reader of an under file system is one. */
export interface BackupSource {
  /** Reads at a position, until `into` is full or the file ends. @returns bytes read */
  read(into: Uint8Array, positionBytes: number): Promise<number>;
}

function damaged(what: string, cause?: unknown): RockpoolError {
  return new RockpoolError(
    "DATA_LOSS",
    `The backup is damaged: ${what}`,
    "Take another copy of it, or an older backup",
    { cause },
  );
}

function writeRow(writer: ByteWriter, { key, value }: KeyValue): void {
  writer.bytes(key);
  writer.bytes(value);
}

function withCrc(writer: ByteWriter): Uint8Array {
  writer.u32(crc32c(writer.view()));
  return writer.take();
}

/** Counts and hashes rows as a backup has them. */
export class RowDigest {
  readonly #hash: Hash = createHash("sha256");
  readonly #writer = new ByteWriter(BLOCK_BYTES);
  rowCount = 0;
  entryCount = 0;

  add(rows: Iterable<KeyValue>): void {
    for (const row of rows) {
      this.count(row.key);
      writeRow(this.#writer, row);
      if (this.#writer.lengthBytes >= BLOCK_BYTES) this.#flush();
    }
    this.#flush();
  }

  /** Rows as they stand in a block; the caller counts them. */
  addBytes(rows: Uint8Array): void {
    this.#hash.update(rows);
  }

  count(key: Uint8Array): void {
    this.rowCount += 1;
    if (key[0] === TABLE.inode) this.entryCount += 1;
  }

  #flush(): void {
    this.#hash.update(this.#writer.view());
    this.#writer.reset();
  }

  /** Ends it. */
  trailer(): BackupTrailer {
    const { rowCount, entryCount } = this;
    return { rowCount, entryCount, digest: new Uint8Array(this.#hash.digest()) };
  }
}

/** Writes a backup: the header at once, rows as they come, and the trailer at the end. */
export class BackupWriter {
  readonly #sink: BackupSink;
  readonly #digest = new RowDigest();

  constructor(sink: BackupSink) {
    this.#sink = sink;
  }

  get entryCount(): number {
    return this.#digest.entryCount;
  }

  begin(value: BackupHeader): Promise<void> {
    const fields = encode(header, value);
    const writer = new ByteWriter();
    writer.raw(new TextEncoder().encode(MAGIC));
    writer.u32(VERSION);
    writer.u32(fields.length);
    writer.raw(fields);
    return this.#sink.write(withCrc(writer));
  }

  /**
   * Writes a block of as many rows as fit, at least one.
   * @param isEnough asked after each row
   * @returns the key of the last one; null when there was none
   */
  async writeBlock(
    rows: Iterable<KeyValue>,
    isEnough: () => boolean = () => false,
  ): Promise<Uint8Array | null> {
    const writer = new ByteWriter(BLOCK_BYTES + 4096);
    writer.u8(BLOCK_TAG);
    writer.u32(0);
    writer.u32(0);
    const before = this.#digest.rowCount;
    let last: Uint8Array | null = null;
    for (const row of rows) {
      writeRow(writer, row);
      this.#digest.count(row.key);
      last = row.key;
      if (writer.lengthBytes >= BLOCK_BYTES || isEnough()) break;
    }
    if (last === null) return null;
    writer.patchU32(1, writer.lengthBytes - BLOCK_HEADER_BYTES);
    writer.patchU32(5, this.#digest.rowCount - before);
    this.#digest.addBytes(writer.view().subarray(BLOCK_HEADER_BYTES));
    await this.#sink.write(withCrc(writer));
    return last;
  }

  async end(): Promise<BackupTrailer> {
    const value = this.#digest.trailer();
    const fields = encode(trailer, value);
    const writer = new ByteWriter();
    writer.u8(TRAILER_TAG);
    writer.u32(fields.length);
    writer.raw(fields);
    await this.#sink.write(withCrc(writer));
    return value;
  }
}

/** Reads on from where it stands; every answer is whole, or the file is damaged. */
class Cursor {
  readonly #source: BackupSource;
  readonly #ahead = new Uint8Array(READ_AHEAD_BYTES);
  #aheadStart = 0;
  #aheadEnd = 0;
  positionBytes = 0;

  constructor(source: BackupSource) {
    this.#source = source;
  }

  /** @returns bytes of its own */
  async take(lengthBytes: number, what: string): Promise<Uint8Array> {
    const taken = new Uint8Array(lengthBytes);
    let done = 0;
    while (done < lengthBytes) {
      if (this.#aheadStart === this.#aheadEnd && !(await this.#readAhead()))
        throw damaged(`it ends at byte ${this.positionBytes}, within ${what}`);
      const end = Math.min(this.#aheadEnd, this.#aheadStart + lengthBytes - done);
      taken.set(this.#ahead.subarray(this.#aheadStart, end), done);
      const movedBytes = end - this.#aheadStart;
      this.#aheadStart = end;
      this.positionBytes += movedBytes;
      done += movedBytes;
    }
    return taken;
  }

  /** @returns false at the end of the file */
  async #readAhead(): Promise<boolean> {
    this.#aheadStart = 0;
    this.#aheadEnd = await this.#source.read(this.#ahead, this.positionBytes);
    return this.#aheadEnd > 0;
  }

  /** The rest of a part whose first bytes were read, up to and with its CRC, which it checks. */
  async rest(front: Uint8Array, lengthBytes: number, what: string): Promise<Uint8Array> {
    const start = this.positionBytes - front.length;
    const rest = await this.take(lengthBytes + CRC_BYTES, what);
    const fields = rest.subarray(0, lengthBytes);
    const crc = new DataView(rest.buffer).getUint32(lengthBytes, true);
    if (crc32c(fields, crc32c(front)) !== crc)
      throw damaged(`${what} at byte ${start} does not match its checksum`);
    return fields;
  }

  async requireEnd(): Promise<void> {
    if (this.#aheadStart < this.#aheadEnd || (await this.#readAhead()))
      throw damaged(`bytes follow its end at byte ${this.positionBytes}`);
  }
}

function u32At(front: Uint8Array, at: number): number {
  return new DataView(front.buffer, front.byteOffset).getUint32(at, true);
}

function decodePart<T>(codec: Codec<T>, fields: Uint8Array, what: string): T {
  try {
    return decode(codec, fields);
  } catch (cause) {
    if (!(cause instanceof DecodeError)) throw cause;
    throw damaged(`${what} cannot be read: ${cause.message}`, cause);
  }
}

async function readHeader(cursor: Cursor): Promise<BackupHeader> {
  const front = await cursor.take(FIXED_HEADER_BYTES, "its header");
  if (new TextDecoder("latin1").decode(front.subarray(0, 8)) !== MAGIC)
    throw new RockpoolError(
      "INVALID_ARGUMENT",
      "The file is no backup of Rockpool: it does not begin with its mark",
      "Give a file that `fsadmin backup` wrote",
    );
  const version = u32At(front, 8);
  if (version !== VERSION)
    throw new RockpoolError(
      "FAILED_PRECONDITION",
      `The backup is of version ${version}, and this program reads version ${VERSION}`,
      "Restore it with the build that wrote it",
    );
  const lengthBytes = u32At(front, 12);
  if (lengthBytes > HEADER_BYTES_MAX) throw damaged(`its header would have ${lengthBytes} B`);
  return decodePart(header, await cursor.rest(front, lengthBytes, "its header"), "its header");
}

/** The rows of a block; views on it. @throws DecodeError */
function rowsOf(block: Uint8Array, count: number): KeyValue[] {
  const reader = new ByteReader(block);
  const rows: KeyValue[] = [];
  for (let i = 0; i < count; i++) {
    const key = reader.bytes();
    if (key.length === 0 || key.length > KEY_BYTES_MAX)
      throw new DecodeError(`A key of ${key.length} B`);
    rows.push({ key, value: reader.bytes() });
  }
  reader.end();
  return rows;
}

function isBefore(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) < 0;
}

/** A backup as it is read: its blocks, in order, each of them checked; then what the end says, when all of it agrees. */
export class BackupReader {
  readonly #cursor: Cursor;
  readonly #digest = new RowDigest();
  #lastKey: Uint8Array = new Uint8Array(0);
  readonly #tables = new Set<number | undefined>();
  readonly header: BackupHeader;

  private constructor(cursor: Cursor, value: BackupHeader) {
    this.#cursor = cursor;
    this.header = value;
  }

  /** @throws RockpoolError INVALID_ARGUMENT when it is no backup; FAILED_PRECONDITION of another version; DATA_LOSS when damaged */
  static async open(source: BackupSource): Promise<BackupReader> {
    const cursor = new Cursor(source);
    return new BackupReader(cursor, await readHeader(cursor));
  }

  /**
   * @returns the rows of the next block (views on a buffer of their own), or the trailer, after which nothing may be asked
   * @throws RockpoolError DATA_LOSS
   */
  async next(): Promise<readonly KeyValue[] | BackupTrailer> {
    const tag = await this.#cursor.take(1, "what follows a block");
    if (tag[0] === TRAILER_TAG) return this.#readTrailer(tag);
    if (tag[0] !== BLOCK_TAG)
      throw damaged(`no block begins at byte ${this.#cursor.positionBytes - 1}`);
    const sizes = await this.#cursor.take(BLOCK_HEADER_BYTES - 1, "a block");
    const lengthBytes = u32At(sizes, 0);
    if (lengthBytes > BLOCK_BYTES_MAX) throw damaged(`a block would have ${lengthBytes} B`);
    const front = Uint8Array.of(BLOCK_TAG, ...sizes);
    const block = await this.#cursor.rest(front, lengthBytes, "a block");
    this.#digest.addBytes(block);
    try {
      return this.#checked(rowsOf(block, u32At(sizes, 4)));
    } catch (cause) {
      if (!(cause instanceof DecodeError)) throw cause;
      throw damaged(`a block holds what is no row: ${cause.message}`, cause);
    }
  }

  #checked(rows: readonly KeyValue[]): readonly KeyValue[] {
    if (rows.length === 0) throw new DecodeError("It has none");
    for (const { key, value } of rows) {
      if (!isBefore(this.#lastKey, key)) throw new DecodeError("Keys are out of order");
      checkRow(key, value);
      this.#lastKey = key;
      this.#tables.add(key[0]);
      this.#digest.count(key);
    }
    return rows;
  }

  async #readTrailer(tag: Uint8Array): Promise<BackupTrailer> {
    const size = await this.#cursor.take(TRAILER_HEADER_BYTES - 1, "its end");
    const lengthBytes = u32At(size, 0);
    if (lengthBytes > HEADER_BYTES_MAX) throw damaged(`its end would have ${lengthBytes} B`);
    const front = Uint8Array.of(...tag, ...size);
    const fields = await this.#cursor.rest(front, lengthBytes, "its end");
    const said = decodePart(trailer, fields, "its end");
    const found = this.#digest.trailer();
    if (said.rowCount !== found.rowCount || said.entryCount !== found.entryCount)
      throw damaged(
        `it has ${found.rowCount} rows and ${found.entryCount} entries, and says ${said.rowCount} and ${said.entryCount}`,
      );
    if (Buffer.compare(said.digest, found.digest) !== 0)
      throw damaged("its rows do not match its digest");
    await this.#cursor.requireEnd();
    // No cluster lives without these.
    for (const table of [TABLE.inode, TABLE.mount, TABLE.state])
      if (!this.#tables.has(table)) throw damaged(`it has no rows of table ${table}`);
    return said;
  }
}

export function isTrailer(part: readonly KeyValue[] | BackupTrailer): part is BackupTrailer {
  return "digest" in part;
}

/** Text of a digest, as people compare it. */
export function digestText(digest: Uint8Array): string {
  return Buffer.from(digest).toString("hex");
}

/**
 * Reads all of a backup. @param pause awaited between blocks
 * @throws RockpoolError as {@link BackupReader}
 */
export async function verifyBackup(
  source: BackupSource,
  pause: () => Promise<void> = () => Promise.resolve(),
): Promise<BackupSummary> {
  const reader = await BackupReader.open(source);
  for (;;) {
    const part = await reader.next();
    if (isTrailer(part)) return { header: reader.header, ...part };
    await pause();
  }
}
