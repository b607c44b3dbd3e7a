/**
 * The journal's folder: who it belongs to, who has it open, and whom its peers were first known as.
 *
 * ```
 * _format_<ms since 1970>   empty: the folder was formatted then
 * journal.json              the identity: {magic, formatVersion, memberId, incarnation, address, addresses, crc32c}
 * peers.json                {formatVersion, incarnations: {"host:port": "<16 hex digits>"}}; no checksum, operators edit it
 * lock                      the process that has the journal open, see world/folder_lock.ts
 * wal-<16 digits>           segments, see record.ts
 * ```
 * Ids and incarnations are 16 hex digits. The CRC-32C of journal.json is that of the JSON of the other fields, in this
 * order. Files are replaced whole: written beside, fsynced, renamed, and the folder fsynced.
 *
 * A member id is made from its address, so that a cluster is described by its addresses alone. An incarnation is random,
 * made at each format: a member whose journal was wiped forgot its votes and acknowledgements, and must not be taken
 * for the one that gave them.
 * @module
 */
import { createHash, randomBytes } from "node:crypto";
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { RockpoolError } from "../common/errors.ts";
import type { MemberId } from "../common/ids.ts";
import { lockFolderAt } from "../world/folder_lock.ts";
import { nodeFileSystem } from "./file_system.ts";
import type { Crc32c } from "./record.ts";
import { listSegments, prepareSegment, SEGMENT_BYTES } from "./segment_file.ts";

const IDENTITY_FILE = "journal.json";
const PEERS_FILE = "peers.json";
const LOCK_FILE = "lock";
const MAGIC = "rockpool-journal";
const FORMAT_VERSION = 1;
const FORMAT_REMEDY = "Run `bin/rockpool init format` on this master";
const OURS = /^(_format_\d+|journal\.json|peers\.json|lock|wal-\d{16}(\.preparing)?|.*\.new)$/;

export type JournalIdentity = {
  readonly memberId: MemberId;
  readonly incarnation: bigint;
  readonly address: string;
  /** Sorted. */
  readonly addresses: readonly string[];
};

/** 63 bits of a hash: never negative in a signed field. */
function hash63(input: string): bigint {
  return createHash("sha256").update(input).digest().readBigUInt64BE(0) >> 1n;
}

/** The member that listens on an address. */
export function memberIdOf(address: string): MemberId {
  // The one place where member ids are made.
  return hash63(`member ${address}`) as MemberId;
}

/** Names a cluster: only members with the same set of addresses talk to each other. */
export function groupIdOf(addresses: readonly string[]): bigint {
  return hash63(`group ${[...addresses].sort().join(" ")}`);
}

function hex(value: bigint): string {
  return value.toString(16).padStart(16, "0");
}

function replaceFile(folder: string, name: string, content: string): void {
  const path = join(folder, name);
  const descriptor = openSync(`${path}.new`, "w");
  try {
    writeFileSync(descriptor, content);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  renameSync(`${path}.new`, path);
  const parent = openSync(folder, "r");
  try {
    fsyncSync(parent);
  } finally {
    closeSync(parent);
  }
}

function checkAddresses(address: string, addresses: readonly string[]): void {
  const twice = addresses.find((each, at) => addresses.indexOf(each) !== at);
  if (twice !== undefined)
    throw new RockpoolError(
      "FAILED_PRECONDITION",
      `The journal addresses name ${twice} twice`,
      "Name each master once in alluxio.master.embedded.journal.addresses",
    );
  if (!addresses.includes(address))
    throw new RockpoolError(
      "FAILED_PRECONDITION",
      `The journal addresses ${addresses.join(",")} do not name this master, ${address}`,
      "Set alluxio.master.embedded.journal.addresses to every master's host:port, and alluxio.master.hostname to this one's",
    );
}

export type FormatOptions = {
  /** host:port of this member's journal port, as it stands in `addresses`. */
  readonly address: string;
  readonly addresses: readonly string[];
  readonly crc32c: Crc32c;
  /** 64 MiB in product. */
  readonly segmentBytes?: number;
  readonly nowMs: number;
};

/**
 * Empties the folder of any journal and gives it a new identity. Everything in it that was a journal is lost.
 * @throws RockpoolError UNAVAILABLE when a running process has it open; FAILED_PRECONDITION when it holds files of
 *   somebody else
 */
export async function formatJournal(folder: string, options: FormatOptions): Promise<void> {
  checkAddresses(options.address, options.addresses);
  mkdirSync(folder, { recursive: true });
  const unlock = lockFolder(folder, () => {});
  try {
    const names = readdirSync(folder);
    const strange = names.find((name) => !OURS.test(name));
    if (strange !== undefined)
      throw new RockpoolError(
        "FAILED_PRECONDITION",
        `The folder ${folder} holds ${strange}, which is no part of a journal: it is not formatted`,
        "Point alluxio.master.journal.folder at a folder of its own, or move that file away",
      );
    // The identity goes first: a format that is cut short leaves a folder that does not open.
    if (names.includes(IDENTITY_FILE)) unlinkSync(join(folder, IDENTITY_FILE));
    for (const name of names) if (name !== LOCK_FILE) rmSync(join(folder, name), { force: true });
    const segmentBytes = options.segmentBytes ?? SEGMENT_BYTES;
    const segment = await prepareSegment(nodeFileSystem(), folder, 1, segmentBytes);
    segment.close();
    writeFileSync(join(folder, `_format_${options.nowMs}`), "");
    writeIdentity(folder, options);
  } finally {
    unlock();
  }
}

function writeIdentity(folder: string, options: FormatOptions): void {
  const fields = {
    magic: MAGIC,
    formatVersion: FORMAT_VERSION,
    memberId: hex(memberIdOf(options.address)),
    incarnation: randomBytes(8).toString("hex"),
    address: options.address,
    addresses: [...options.addresses].sort(),
  };
  const crc32c = options.crc32c(new TextEncoder().encode(JSON.stringify(fields)));
  replaceFile(folder, IDENTITY_FILE, `${JSON.stringify({ ...fields, crc32c }, null, 2)}\n`);
}

export function isFormatted(folder: string): boolean {
  return existsSync(join(folder, IDENTITY_FILE));
}

/** @throws RockpoolError FAILED_PRECONDITION when the folder was never formatted; DATA_LOSS when its identity is damaged */
export function readIdentityFile(folder: string, crc32c: Crc32c): JournalIdentity {
  const path = join(folder, IDENTITY_FILE);
  if (!existsSync(path))
    throw new RockpoolError(
      "FAILED_PRECONDITION",
      `The journal folder ${folder} was never formatted`,
      FORMAT_REMEDY,
    );
  const damaged = (cause?: unknown) =>
    new RockpoolError(
      "DATA_LOSS",
      `The journal's identity ${path} is damaged`,
      "Restore that file from a backup of the folder",
      { cause },
    );
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(path, "utf8"));
  } catch (cause) {
    throw damaged(cause);
  }
  if (!isIdentityJson(parsed)) throw damaged();
  const { crc32c: expected, ...fields } = parsed;
  const { magic, formatVersion, memberId, incarnation, address, addresses } = fields;
  const ordered = { magic, formatVersion, memberId, incarnation, address, addresses };
  if (crc32c(new TextEncoder().encode(JSON.stringify(ordered))) !== expected) throw damaged();
  if (formatVersion !== FORMAT_VERSION)
    throw new RockpoolError(
      "FAILED_PRECONDITION",
      `The journal in ${folder} has format ${formatVersion}; this version reads format ${FORMAT_VERSION}`,
      "Start a newer version of the program",
    );
  return {
    // Guarded by the CRC: written by `writeIdentity`.
    memberId: BigInt(`0x${memberId}`) as MemberId,
    incarnation: BigInt(`0x${incarnation}`),
    address,
    addresses,
  };
}

type IdentityJson = {
  magic: string;
  formatVersion: number;
  memberId: string;
  incarnation: string;
  address: string;
  addresses: string[];
  crc32c: number;
};

function isIdentityJson(value: unknown): value is IdentityJson {
  // Fields are looked at one by one below.
  const fields = value as Partial<Record<keyof IdentityJson, unknown>> | null;
  return (
    typeof fields === "object" &&
    fields !== null &&
    fields.magic === MAGIC &&
    typeof fields.formatVersion === "number" &&
    isHex(fields.memberId) &&
    isHex(fields.incarnation) &&
    typeof fields.address === "string" &&
    Array.isArray(fields.addresses) &&
    typeof fields.crc32c === "number"
  );
}

function isHex(value: unknown): value is string {
  return typeof value === "string" && /^[0-9a-f]{16}$/.test(value);
}

/**
 * Checks that the configuration fits the folder.
 * @throws RockpoolError FAILED_PRECONDITION when the addresses lack this member, or are others than at the format
 */
export function checkConfigured(
  folder: string,
  identity: JournalIdentity,
  address: string,
  addresses: readonly string[],
): void {
  checkAddresses(address, addresses);
  const sorted = [...addresses].sort();
  if (identity.address === address && identity.addresses.join() === sorted.join()) return;
  throw new RockpoolError(
    "FAILED_PRECONDITION",
    `The journal in ${folder} was formatted for ${identity.address} of ${identity.addresses.join(",")}, ` +
      `and the configuration says ${address} of ${sorted.join(",")}`,
    "Restore the addresses, or, to begin an empty cluster, run `bin/rockpool init format` on every master",
  );
}

/**
 * Marks the folder as open in this process; a lock whose process is gone is taken over.
 * @param onTakenOver told the pid of the process that left its lock behind
 * @returns what gives the lock back
 * @throws RockpoolError UNAVAILABLE when a live process has it
 */
export function lockFolder(folder: string, onTakenOver: (pid: number) => void): () => void {
  return lockFolderAt(join(folder, LOCK_FILE), {
    subject: `The journal folder ${folder}`,
    remedy: "Stop that process, or point alluxio.master.journal.folder of this one elsewhere",
    onTakenOver,
  });
}

/** The incarnation under which each peer was first known. A peer that comes under another one was wiped. */
export class PeerPins {
  readonly #folder: string;
  readonly #pins: Map<string, bigint>;

  constructor(folder: string) {
    this.#folder = folder;
    this.#pins = readPins(folder);
  }

  /**
   * Compares a peer's incarnation with the one known, and keeps it for ever if there is none. Blocks for an fsync then:
   * once in the life of a cluster for each peer.
   */
  check(address: string, incarnation: bigint): "known" | "wiped" {
    const pinned = this.#pins.get(address);
    if (pinned !== undefined) return pinned === incarnation ? "known" : "wiped";
    const pins = new Map(this.#pins).set(address, incarnation);
    const incarnations = Object.fromEntries([...pins].map(([key, value]) => [key, hex(value)]));
    const content = JSON.stringify({ formatVersion: FORMAT_VERSION, incarnations }, null, 2);
    replaceFile(this.#folder, PEERS_FILE, `${content}\n`);
    // Only now: a pin that the disk did not take would be forgotten with the next restart.
    this.#pins.set(address, incarnation);
    return "known";
  }
}

function readPins(folder: string): Map<string, bigint> {
  const path = join(folder, PEERS_FILE);
  if (!existsSync(path)) return new Map();
  const malformed = (cause?: unknown) =>
    new RockpoolError(
      "DATA_LOSS",
      `The list of known peers ${path} is malformed`,
      'Restore it; it looks like {"formatVersion": 1, "incarnations": {"host:port": "16 hex digits"}}',
      { cause },
    );
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(path, "utf8"));
  } catch (cause) {
    throw malformed(cause);
  }
  // Checked entry by entry below.
  const { incarnations } = (parsed ?? {}) as { incarnations?: unknown };
  if (typeof incarnations !== "object" || incarnations === null) throw malformed();
  const pins = new Map<string, bigint>();
  for (const [address, value] of Object.entries(incarnations)) {
    if (!isHex(value)) throw malformed();
    pins.set(address, BigInt(`0x${value}`));
  }
  return pins;
}

/** True when the folder has segments: a journal that was formatted, and perhaps written. */
export function hasSegments(folder: string): boolean {
  return listSegments(nodeFileSystem(), folder).length > 0;
}
