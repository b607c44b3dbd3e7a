/**
 * The journal's folder: who it belongs to, and whom its peers were first known as.
 *
 * ```
 * _format_<ms since 1970>   empty: the folder was formatted then
 * journal.json              the identity: {magic, formatVersion 2, standing, memberId, groupId, incarnation, address, founders, crc32c}
 * peers.json                {formatVersion 3, incarnations: {"host:port": "<16 hex digits>"}, takenInAsOf: index or null};
 *                           no checksum, operators edit it
 * lock                      the process that has the journal open, see world/folder_lock.ts
 * wal-<16 digits>           segments, see record.ts
 * checkpoint-<16 digits>    images of the state, see checkpoint_file.ts; .making: unfinished;
 *   -<16 hex digits>.incoming  one on its way from that peer
 * ```
 * Ids and incarnations are 16 hex digits. The CRC-32C of journal.json is that of the JSON of the other fields, in this
 * order. `founders` is sorted, and empty unless the standing is "founder". Files are replaced whole: written beside,
 * synced, renamed, and the folder synced.
 *
 * An incarnation is random, made at each format. A freshly formatted folder is "undecided": `founding.ts` says how it
 * becomes a founder's or a joiner's, for good.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import type { LogIndex, MemberId } from "../common/ids.ts";
import type { Random } from "../world/ports.ts";
import type { JournalFileSystem } from "./file_system.ts";
import type { Acquaintance } from "./founding.ts";
import { groupIdOf, hex64, joinerIdOf, memberIdOf } from "./member_ids.ts";
import type { Crc32c } from "./record.ts";
import { prepareSegment, SEGMENT_BYTES } from "./segment_file.ts";
import { fatalFailure, isNoSpace } from "./wal_failure.ts";

export const IDENTITY_FILE = "journal.json";
const PEERS_FILE = "peers.json";
const LOCK_FILE = "lock";
const MAGIC = "rockpool-journal";
const FORMAT_VERSION = 2;
const PEERS_VERSION = 3;
const FORMAT_REMEDY = "Run `bin/rockpool init format` on this master";
const OURS =
  /^(_format_\d+|journal\.json|peers\.json|lock|(wal|begin)-.*|begin.*|wal\..*|checkpoint-\d{16}(\.making|(-[0-9a-f]{16})?\.incoming|\.damaged(-\d+)?)?|.*\.new)$/;

export type JournalIdentity = {
  readonly standing: "undecided" | "founder" | "joiner";
  readonly memberId: MemberId;
  readonly groupId: bigint;
  readonly incarnation: bigint;
  readonly address: string;
  /** Addresses of the founders, sorted; empty unless this is one of them. */
  readonly founders: readonly string[];
};

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

function readText(fileSystem: JournalFileSystem, path: string): string | null {
  const bytes = fileSystem.readFileSync(path);
  return bytes === null ? null : decoder.decode(bytes);
}

function isMalformed(error: unknown): boolean {
  return error instanceof SyntaxError || error instanceof TypeError;
}

/** @throws RockpoolError FAILED_PRECONDITION when the addresses lack this master, or name one twice */
export function checkAddresses(address: string, addresses: readonly string[]): void {
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

/**
 * Marks the folder as open in this process; a lock whose process is gone is taken over.
 * @param onTakenOver told the pid of the process that left its lock behind
 * @returns what gives the lock back
 * @throws RockpoolError UNAVAILABLE when a live process has it
 */
export function lockFolder(
  fileSystem: JournalFileSystem,
  folder: string,
  onTakenOver: (pid: number) => void,
): () => void {
  return fileSystem.lockSync(`${folder}/${LOCK_FILE}`, {
    subject: `The journal folder ${folder}`,
    remedy: "Stop that process, or point alluxio.master.journal.folder of this one elsewhere",
    onTakenOver,
  });
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
 * Empties a folder of any journal and gives it a new identity. Everything in it that was a journal is lost.
 * @throws RockpoolError UNAVAILABLE when a running process has it open; FAILED_PRECONDITION when it holds files of
 *   somebody else
 */
export async function formatFolder(
  folder: string,
  options: FormatOptions,
  fileSystem: JournalFileSystem,
  random: Random,
): Promise<void> {
  checkAddresses(options.address, options.addresses);
  fileSystem.makeFolderSync(folder);
  const unlock = lockFolder(fileSystem, folder, () => {});
  try {
    await formatLocked(folder, options, fileSystem, random);
  } finally {
    unlock();
  }
}

async function formatLocked(
  folder: string,
  options: FormatOptions,
  fileSystem: JournalFileSystem,
  random: Random,
): Promise<void> {
  const names = fileSystem.listSync(folder);
  const strange = names.find((name) => !OURS.test(name));
  if (strange !== undefined)
    throw new RockpoolError(
      "FAILED_PRECONDITION",
      `The folder ${folder} holds ${strange}, which is no part of a journal: it is not formatted`,
      "Point alluxio.master.journal.folder at a folder of its own, or move that file away",
    );
  // The identity goes first: a format that is cut short leaves a folder that does not open.
  if (names.includes(IDENTITY_FILE)) fileSystem.removeSync(`${folder}/${IDENTITY_FILE}`);
  for (const name of names)
    if (name !== LOCK_FILE && name !== IDENTITY_FILE) fileSystem.removeSync(`${folder}/${name}`);
  await fileSystem.syncFolder(folder);
  const segmentBytes = options.segmentBytes ?? SEGMENT_BYTES;
  (await prepareSegment(fileSystem, folder, 1, segmentBytes)).close();
  (await fileSystem.create(`${folder}/_format_${options.nowMs}`)).close();
  const incarnation = (BigInt(random.uint32()) << 32n) | BigInt(random.uint32());
  writeIdentity(fileSystem, folder, options.crc32c, {
    standing: "undecided",
    memberId: memberIdOf(options.address),
    groupId: groupIdOf(options.addresses),
    incarnation,
    address: options.address,
    founders: [],
  });
}

function fieldsOf(identity: JournalIdentity) {
  const { standing, memberId, groupId, incarnation, address, founders } = identity;
  return {
    magic: MAGIC,
    formatVersion: FORMAT_VERSION,
    standing,
    memberId: hex64(memberId),
    groupId: hex64(groupId),
    incarnation: hex64(incarnation),
    address,
    founders,
  };
}

function writeIdentity(
  fileSystem: JournalFileSystem,
  folder: string,
  crc32c: Crc32c,
  identity: JournalIdentity,
): void {
  const fields = fieldsOf(identity);
  const crc = crc32c(encoder.encode(JSON.stringify(fields)));
  const content = `${JSON.stringify({ ...fields, crc32c: crc }, null, 2)}\n`;
  fileSystem.replaceFileSync(`${folder}/${IDENTITY_FILE}`, encoder.encode(content));
}

/** Makes a fresh journal that of a founder, or of a joiner of a group; durable on return. */
export function settleIdentity(
  fileSystem: JournalFileSystem,
  folder: string,
  crc32c: Crc32c,
  identity: JournalIdentity,
  as:
    | { readonly standing: "founder"; readonly founders: readonly string[] }
    | { readonly standing: "joiner"; readonly groupId: bigint },
): JournalIdentity {
  const { address, incarnation } = identity;
  const settled: JournalIdentity =
    as.standing === "founder"
      ? {
          ...identity,
          standing: "founder",
          memberId: memberIdOf(address),
          groupId: groupIdOf(as.founders),
          founders: [...as.founders].sort(),
        }
      : {
          ...identity,
          standing: "joiner",
          memberId: joinerIdOf(address, incarnation),
          groupId: as.groupId,
          founders: [],
        };
  writeIdentity(fileSystem, folder, crc32c, settled);
  return settled;
}

/** @throws RockpoolError FAILED_PRECONDITION when the folder was never formatted; DATA_LOSS when its identity is damaged */
export function readIdentityFile(
  fileSystem: JournalFileSystem,
  folder: string,
  crc32c: Crc32c,
): JournalIdentity {
  const path = `${folder}/${IDENTITY_FILE}`;
  const damaged = (cause?: unknown) =>
    new RockpoolError(
      "DATA_LOSS",
      `The journal's identity ${path} is damaged`,
      "Restore that file from a copy of the folder; without one, move the folder away, format this master, and let it join the others anew",
      { cause },
    );
  let parsed: unknown;
  try {
    const content = readText(fileSystem, path);
    if (content === null)
      throw new RockpoolError(
        "FAILED_PRECONDITION",
        `The journal folder ${folder} was never formatted`,
        FORMAT_REMEDY,
      );
    parsed = JSON.parse(content);
  } catch (cause) {
    if (isMalformed(cause)) throw damaged(cause);
    throw cause;
  }
  if (!isIdentityJson(parsed)) throw damaged();
  if (parsed.formatVersion !== FORMAT_VERSION)
    throw new RockpoolError(
      "FAILED_PRECONDITION",
      `The journal in ${folder} has format ${parsed.formatVersion}; this version reads format ${FORMAT_VERSION}`,
      "Start the version of the program that wrote it",
    );
  const identity: JournalIdentity = {
    standing: parsed.standing,
    // Guarded by the CRC: written by `writeIdentity`.
    memberId: BigInt(`0x${parsed.memberId}`) as MemberId,
    groupId: BigInt(`0x${parsed.groupId}`),
    incarnation: BigInt(`0x${parsed.incarnation}`),
    address: parsed.address,
    founders: parsed.founders,
  };
  if (crc32c(encoder.encode(JSON.stringify(fieldsOf(identity)))) !== parsed.crc32c) throw damaged();
  return identity;
}

type IdentityJson = {
  magic: string;
  formatVersion: number;
  standing: JournalIdentity["standing"];
  memberId: string;
  groupId: string;
  incarnation: string;
  address: string;
  founders: string[];
  crc32c: number;
};

function isIdentityJson(value: unknown): value is IdentityJson {
  // Fields are looked at one by one below.
  const fields = value as Partial<Record<keyof IdentityJson, unknown>> | null;
  if (typeof fields !== "object" || fields === null || fields.magic !== MAGIC) return false;
  if (typeof fields.formatVersion !== "number") return false;
  // Of another version only that much is known.
  if (fields.formatVersion !== FORMAT_VERSION) return true;
  return (
    (fields.standing === "undecided" ||
      fields.standing === "founder" ||
      fields.standing === "joiner") &&
    isHex(fields.memberId) &&
    isHex(fields.groupId) &&
    isHex(fields.incarnation) &&
    typeof fields.address === "string" &&
    Array.isArray(fields.founders) &&
    fields.founders.every((founder) => typeof founder === "string") &&
    typeof fields.crc32c === "number"
  );
}

function isHex(value: unknown): value is string {
  return typeof value === "string" && /^[0-9a-f]{16}$/.test(value);
}

/**
 * Checks that the configuration fits the folder. The other addresses may change: once a cluster lives, its log says who
 * belongs to it.
 * @throws RockpoolError FAILED_PRECONDITION when the addresses lack this master, or its own is another than at the format
 */
export function checkConfigured(
  folder: string,
  identity: JournalIdentity,
  address: string,
  addresses: readonly string[],
): void {
  checkAddresses(address, addresses);
  if (identity.address === address) return;
  throw new RockpoolError(
    "FAILED_PRECONDITION",
    `The journal in ${folder} was formatted for ${identity.address}, and the configuration says that this master is ${address}`,
    "Restore the address; or, to give this master another one, remove it with `fsadmin journal quorum remove`, run `bin/rockpool init format` on it, and start it: it joins under the new one",
  );
}

/**
 * The incarnation under which each founder was first known. One that comes under another was wiped. As long as this
 * journal is not born itself, also fresh ones are kept, so that they can be told later that they took part in the founding.
 */
export class PeerPins {
  readonly #fileSystem: JournalFileSystem;
  readonly #folder: string;
  readonly #pins: Map<string, bigint>;
  #takenInAsOf: LogIndex | null;

  constructor(fileSystem: JournalFileSystem, folder: string) {
    this.#fileSystem = fileSystem;
    this.#folder = folder;
    const { incarnations, takenInAsOf } = readPins(fileSystem, folder);
    this.#pins = incarnations;
    this.#takenInAsOf = takenInAsOf;
  }

  /** Index of a config entry that names this joiner, by a member's word. */
  get takenInAsOf(): LogIndex | null {
    return this.#takenInAsOf;
  }

  /** Blocks for an fsync: once in the life of a joiner. */
  noteTakenIn(index: LogIndex): void {
    this.#write(this.#pins, index);
    this.#takenInAsOf = index;
  }

  acquaintance(address: string, incarnation: bigint): Acquaintance {
    const pinned = this.#pins.get(address);
    if (pinned === undefined) return "nobody";
    return pinned === incarnation ? "same" : "other";
  }

  /**
   * Keeps a first one for good. Blocks for an fsync: once in the life of a cluster for each peer.
   * @throws WalError when the disk is broken; what the file system throws when it is full
   * @param mayReplace while nothing was decided, a peer may be formatted again
   */
  keep(address: string, incarnation: bigint, mayReplace: boolean): void {
    const pinned = this.#pins.get(address);
    if (pinned === incarnation || (pinned !== undefined && !mayReplace)) return;
    const pins = new Map(this.#pins).set(address, incarnation);
    this.#write(pins, this.#takenInAsOf);
    // Only now: a pin that the disk did not take would be forgotten with the next restart.
    this.#pins.set(address, incarnation);
  }

  #write(pins: ReadonlyMap<string, bigint>, takenInAsOf: LogIndex | null): void {
    const incarnations = Object.fromEntries([...pins].map(([key, value]) => [key, hex64(value)]));
    const content = { formatVersion: PEERS_VERSION, incarnations, takenInAsOf };
    const path = `${this.#folder}/${PEERS_FILE}`;
    const text = `${JSON.stringify(content, null, 2)}\n`;
    try {
      this.#fileSystem.replaceFileSync(path, encoder.encode(text));
    } catch (error) {
      throw isNoSpace(error) ? error : fatalFailure(path, "writing", error);
    }
  }
}

type Pins = {
  readonly incarnations: Map<string, bigint>;
  readonly takenInAsOf: LogIndex | null;
};

function readPins(fileSystem: JournalFileSystem, folder: string): Pins {
  const path = `${folder}/${PEERS_FILE}`;
  const malformed = (cause?: unknown) =>
    new RockpoolError(
      "DATA_LOSS",
      `The list of known peers ${path} is malformed`,
      `Restore it; it looks like {"formatVersion": ${PEERS_VERSION}, "incarnations": {"host:port": "16 hex digits"}, "takenInAsOf": null}`,
      { cause },
    );
  let parsed: unknown;
  try {
    const content = readText(fileSystem, path);
    if (content === null) return { incarnations: new Map(), takenInAsOf: null };
    parsed = JSON.parse(content);
  } catch (cause) {
    if (isMalformed(cause)) throw malformed(cause);
    throw cause;
  }
  // Checked entry by entry below.
  const { incarnations, takenInAsOf = null } = (parsed ?? {}) as {
    incarnations?: unknown;
    takenInAsOf?: unknown;
  };
  if (typeof incarnations !== "object" || incarnations === null) throw malformed();
  const isIndex = typeof takenInAsOf === "number" && Number.isSafeInteger(takenInAsOf);
  if (takenInAsOf !== null && !(isIndex && takenInAsOf >= 0)) throw malformed();
  const pins = new Map<string, bigint>();
  for (const [address, value] of Object.entries(incarnations)) {
    if (!isHex(value)) throw malformed();
    pins.set(address, BigInt(`0x${value}`));
  }
  return { incarnations: pins, takenInAsOf };
}
