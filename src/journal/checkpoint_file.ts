/**
 * A checkpoint: an image of the state, as the state machine wrote it, sealed by what is needed to trust it.
 *
 * ```
 * 0                      the image
 * imageBytes             manifest, coded with common/codec: group u64, index, term, membership (payload of a config entry),
 *                        imageBytes, CRC-32C of each MiB of the image (the last may be shorter)
 * + manifestBytes        footer, 64 B, little-endian:
 *    0 8 B "RPCHKPNT"   8 u32 format version (1)   12 u32 manifestBytes   16 u64 imageBytes
 *   24 u64 index   32 u64 term   40 u32 CRC-32C of the manifest   44 16 B zero   60 u32 CRC-32C of bytes 0..60
 * ```
 * The footer is at the end, so that the image is written without knowing its length, and lies at offset 0, where the
 * state's own store reads it. A file without a whole footer is unfinished; one is only ever named `checkpoint-<index>`
 * when all of it is durable. test/fixtures/checkpoint-v1.bin must decode for ever.
 * @module
 */
import { DecodeError } from "../common/bytes.ts";
import { bytes, type Codec, decode, encode, list, struct, u64, uint } from "../common/codec.ts";
import { messageOf, RockpoolError } from "../common/errors.ts";
import { decodeMembership, encodeMembership } from "../raft/membership.ts";
import type { Membership, Snapshot } from "../raft/messages.ts";
import { type JournalFile, writeFully } from "./file_system.ts";
import type { Crc32c } from "./record.ts";

export const FOOTER_BYTES = 64;
export const CHUNK_BYTES = 1024 * 1024;
/** One step of a check: short enough also where the CRC is computed in JavaScript. */
const SLICE_BYTES = 256 * 1024;
const FORMAT_VERSION = 1;
const MAGIC = new TextEncoder().encode("RPCHKPNT");
/** 2 TiB of image. */
const MANIFEST_BYTES_MAX = 16 * 1024 * 1024;
const NAME = /^checkpoint-(\d{16})$/;
const UNFINISHED_NAME = /^checkpoint-\d{16}\.making$/;
const DAMAGED_SUFFIX = ".damaged";
const DAMAGED_NAME = /^checkpoint-(\d{16})\.damaged$/;
const INCOMING_NAME = /^checkpoint-(\d{16})-([0-9a-f]{16})\.incoming$/;

export type Manifest = {
  readonly groupId: bigint;
  readonly snapshot: Snapshot;
  readonly imageBytes: number;
  readonly crcs: readonly number[];
};

export type Footer = {
  readonly manifestBytes: number;
  readonly imageBytes: number;
  readonly index: number;
  readonly term: number;
  readonly manifestCrc: number;
};

const MEMBERSHIP: Codec<Membership> = {
  write: (w, membership) => bytes.write(w, encodeMembership(membership)),
  read: (r) => decodeMembership(bytes.read(r)),
};

const MANIFEST: Codec<Manifest> = struct({
  groupId: u64,
  snapshot: struct({ index: uint, term: uint, membership: MEMBERSHIP }),
  imageBytes: uint,
  crcs: list(uint),
});

export function checkpointName(index: number): string {
  return `checkpoint-${String(index).padStart(16, "0")}`;
}

/** @returns the index of a finished checkpoint; null for any other file */
export function indexOfName(name: string): number | null {
  const digits = NAME.exec(name)?.[1];
  return digits === undefined ? null : Number(digits);
}

/** Where a checkpoint that is damaged is moved. */
export function damagedName(path: string): string {
  return `${path}${DAMAGED_SUFFIX}`;
}

/** @returns the index of one that was moved there; null for any other file */
export function indexOfDamagedName(name: string): number | null {
  const digits = DAMAGED_NAME.exec(name)?.[1];
  return digits === undefined ? null : Number(digits);
}

export function isUnfinishedName(name: string): boolean {
  return UNFINISHED_NAME.test(name);
}

export function isIncomingName(name: string): boolean {
  return INCOMING_NAME.test(name);
}

/** The manifest and the footer: all that follows the image. */
export function encodeSeal(manifest: Manifest, crc32c: Crc32c): Uint8Array {
  const body = encode(MANIFEST, manifest);
  const seal = new Uint8Array(body.length + FOOTER_BYTES);
  seal.set(body);
  const footer = seal.subarray(body.length);
  const view = new DataView(seal.buffer, body.length, FOOTER_BYTES);
  footer.set(MAGIC);
  view.setUint32(8, FORMAT_VERSION, true);
  view.setUint32(12, body.length, true);
  view.setBigUint64(16, BigInt(manifest.imageBytes), true);
  view.setBigUint64(24, BigInt(manifest.snapshot.index), true);
  view.setBigUint64(32, BigInt(manifest.snapshot.term), true);
  view.setUint32(40, crc32c(body), true);
  view.setUint32(60, crc32c(footer.subarray(0, 60)), true);
  return seal;
}

/** @throws DecodeError when the bytes are no footer of a version that is known */
export function decodeFooter(input: Uint8Array, crc32c: Crc32c): Footer {
  if (input.length !== FOOTER_BYTES) throw new DecodeError(`A footer has ${FOOTER_BYTES} B`);
  const view = new DataView(input.buffer, input.byteOffset, FOOTER_BYTES);
  if (MAGIC.some((byte, at) => input[at] !== byte)) throw new DecodeError("There is no footer");
  if (view.getUint32(60, true) !== crc32c(input.subarray(0, 60)))
    throw new DecodeError("The CRC-32C of the footer does not match");
  const version = view.getUint32(8, true);
  if (version !== FORMAT_VERSION) throw new DecodeError(`Unknown version ${version}`);
  const safe = (offset: number) => {
    const value = Number(view.getBigUint64(offset, true));
    if (!Number.isSafeInteger(value)) throw new DecodeError("A number is too large");
    return value;
  };
  const manifestBytes = view.getUint32(12, true);
  if (manifestBytes > MANIFEST_BYTES_MAX) throw new DecodeError("The manifest is too large");
  return {
    manifestBytes,
    imageBytes: safe(16),
    index: safe(24),
    term: safe(32),
    manifestCrc: view.getUint32(40, true),
  };
}

/** @throws DecodeError when the bytes are not the manifest that the footer speaks of */
export function decodeManifest(input: Uint8Array, footer: Footer, crc32c: Crc32c): Manifest {
  if (crc32c(input) !== footer.manifestCrc)
    throw new DecodeError("The CRC-32C of the manifest does not match");
  const manifest = decode(MANIFEST, input);
  const { snapshot, imageBytes, crcs } = manifest;
  const isFit =
    snapshot.index === footer.index &&
    snapshot.term === footer.term &&
    imageBytes === footer.imageBytes &&
    crcs.length === Math.ceil(imageBytes / CHUNK_BYTES);
  if (!isFit) throw new DecodeError("The manifest and the footer do not belong together");
  return manifest;
}

/** @throws RockpoolError DATA_LOSS */
function damaged(path: string, cause: unknown): RockpoolError {
  return new RockpoolError(
    "DATA_LOSS",
    `The checkpoint ${path} is damaged: ${messageOf(cause)}`,
    "Nothing needs to be done while another checkpoint or another master is there; remove the file to be rid of the message",
    { cause },
  );
}

/** Reads what follows the image. @throws RockpoolError DATA_LOSS when it is damaged or unfinished */
export async function readManifest(
  file: JournalFile,
  path: string,
  crc32c: Crc32c,
): Promise<Manifest> {
  try {
    const sizeBytes = file.sizeSync();
    if (sizeBytes < FOOTER_BYTES) throw new DecodeError(`It has ${sizeBytes} B only`);
    const footer = decodeFooter(
      await readExactly(file, sizeBytes - FOOTER_BYTES, FOOTER_BYTES),
      crc32c,
    );
    const { manifestBytes, imageBytes } = footer;
    if (imageBytes + manifestBytes + FOOTER_BYTES !== sizeBytes)
      throw new DecodeError(`It has ${sizeBytes} B, and its footer speaks of others`);
    return decodeManifest(await readExactly(file, imageBytes, manifestBytes), footer, crc32c);
  } catch (error) {
    if (error instanceof DecodeError) throw damaged(path, error);
    throw error;
  }
}

async function readExactly(
  file: JournalFile,
  offsetBytes: number,
  lengthBytes: number,
): Promise<Uint8Array> {
  const part = new Uint8Array(lengthBytes);
  if ((await file.read(part, offsetBytes)) !== lengthBytes) throw new DecodeError("It ends early");
  return part;
}

/** CRC-32C of each MiB. Reads in slices, and lets others run between them. */
async function crcsOf(file: JournalFile, imageBytes: number, crc32c: Crc32c): Promise<number[]> {
  const crcs: number[] = [];
  const slice = new Uint8Array(SLICE_BYTES);
  for (let at = 0; at < imageBytes; ) {
    const lengthBytes = Math.min(SLICE_BYTES, imageBytes - at);
    const part = slice.subarray(0, lengthBytes);
    if ((await file.read(part, at)) !== lengthBytes) throw new DecodeError("It ends early");
    const isFirst = at % CHUNK_BYTES === 0;
    const crc = isFirst ? crc32c(part) : crc32c(part, crcs.pop());
    crcs.push(crc);
    at += lengthBytes;
  }
  return crcs;
}

/** Reads every byte. @throws RockpoolError DATA_LOSS when one is wrong */
export async function verifyCheckpoint(
  file: JournalFile,
  path: string,
  crc32c: Crc32c,
): Promise<Manifest> {
  const manifest = await readManifest(file, path, crc32c);
  try {
    const crcs = await crcsOf(file, manifest.imageBytes, crc32c);
    const at = crcs.findIndex((crc, chunk) => crc !== manifest.crcs[chunk]);
    if (at >= 0)
      throw new DecodeError(`The CRC-32C of the MiB at byte ${at * CHUNK_BYTES} does not match`);
  } catch (error) {
    if (error instanceof DecodeError) throw damaged(path, error);
    throw error;
  }
  return manifest;
}

/** Completes an image that lies in `file`: durable on return. */
export async function sealCheckpoint(
  file: JournalFile,
  groupId: bigint,
  snapshot: Snapshot,
  crc32c: Crc32c,
): Promise<Manifest> {
  const imageBytes = file.sizeSync();
  const crcs = await crcsOf(file, imageBytes, crc32c);
  const manifest: Manifest = { groupId, snapshot, imageBytes, crcs };
  await writeFully(file, encodeSeal(manifest, crc32c), imageBytes);
  await file.datasync();
  return manifest;
}
