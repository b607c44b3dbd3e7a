/**
 * What ZooKeeper's clients and servers say to each other: numbers, records, results. Pure.
 * Source: `zookeeper.jute`, `ZooDefs.OpCode`, `KeeperException.Code`, `Watcher.Event.EventType` of 3.4 to 3.9.
 *
 *     connect   → protocolVersion i, lastZxidSeen l, timeOut i, sessionId l, passwd buffer(16), readOnly b
 *               ← protocolVersion i, timeOut i (≤ 0: the session is over), sessionId l, passwd buffer, [readOnly b]
 *     request   → xid i, type i, record      answer ← xid i, zxid l, err i, [record when err is 0]
 *     xid −1: a watch fires · −2: ping · −4: auth · −8: setWatches
 * @module
 */
import { DecodeError } from "../common/bytes.ts";
import { RockpoolError, type StatusName } from "../common/errors.ts";
import { JuteReader, JuteWriter } from "./jute.ts";

export const OP = {
  create: 1,
  delete: 2,
  exists: 3,
  getData: 4,
  setData: 5,
  sync: 9,
  ping: 11,
  getChildren2: 12,
  check: 13,
  multi: 14,
  create2: 15,
  auth: 100,
  setWatches: 101,
  closeSession: -11,
  error: -1,
} as const;

export const XID = { watch: -1, ping: -2, auth: -4, setWatches: -8 } as const;
/** Positive and 31 bits: behind the last comes the first again. */
export const XID_MAX = 0x7fff_ffff;

/** ZooKeeper's own name of an error. */
export type ErrorCode =
  | "RUNTIMEINCONSISTENCY"
  | "CONNECTIONLOSS"
  | "MARSHALLINGERROR"
  | "UNIMPLEMENTED"
  | "OPERATIONTIMEOUT"
  | "BADARGUMENTS"
  | "APIERROR"
  | "NONODE"
  | "NOAUTH"
  | "BADVERSION"
  | "NOCHILDRENFOREPHEMERALS"
  | "NODEEXISTS"
  | "NOTEMPTY"
  | "SESSIONEXPIRED"
  | "INVALIDACL"
  | "AUTHFAILED"
  | "SESSIONMOVED"
  | "NOTREADONLY"
  | "THROTTLEDOP"
  | "UNKNOWN";

const ERRORS: Readonly<Record<number, readonly [ErrorCode, StatusName]>> = {
  [-2]: ["RUNTIMEINCONSISTENCY", "ABORTED"],
  [-4]: ["CONNECTIONLOSS", "UNAVAILABLE"],
  [-5]: ["MARSHALLINGERROR", "INTERNAL"],
  [-6]: ["UNIMPLEMENTED", "UNIMPLEMENTED"],
  [-7]: ["OPERATIONTIMEOUT", "DEADLINE_EXCEEDED"],
  [-8]: ["BADARGUMENTS", "INVALID_ARGUMENT"],
  [-100]: ["APIERROR", "INTERNAL"],
  [-101]: ["NONODE", "NOT_FOUND"],
  [-102]: ["NOAUTH", "PERMISSION_DENIED"],
  [-103]: ["BADVERSION", "ABORTED"],
  [-108]: ["NOCHILDRENFOREPHEMERALS", "FAILED_PRECONDITION"],
  [-110]: ["NODEEXISTS", "ALREADY_EXISTS"],
  [-111]: ["NOTEMPTY", "FAILED_PRECONDITION"],
  [-112]: ["SESSIONEXPIRED", "ABORTED"],
  [-114]: ["INVALIDACL", "INVALID_ARGUMENT"],
  [-115]: ["AUTHFAILED", "UNAUTHENTICATED"],
  [-118]: ["SESSIONMOVED", "UNAVAILABLE"],
  [-119]: ["NOTREADONLY", "UNAVAILABLE"],
  [-127]: ["THROTTLEDOP", "RESOURCE_EXHAUSTED"],
};

/** What became of a request. After CONNECTIONLOSS nobody knows whether it was carried out. */
export class ZooKeeperError extends RockpoolError {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, status: StatusName, message: string, remedy = "") {
    super(status, message, remedy);
    this.code = code;
  }
}

export function isZooKeeperError(error: unknown, ...codes: ErrorCode[]): error is ZooKeeperError {
  return error instanceof ZooKeeperError && (codes.length === 0 || codes.includes(error.code));
}

export function errorOf(number: number, what: string): ZooKeeperError {
  const [code, status] = ERRORS[number] ?? (["UNKNOWN", "UNKNOWN"] as const);
  const shown = code === "UNKNOWN" ? `error ${number}` : code;
  return new ZooKeeperError(code, status, `ZooKeeper: ${what}: ${shown}`, REMEDIES[code] ?? "");
}

const REMEDIES: Readonly<Partial<Record<ErrorCode, string>>> = {
  NOAUTH: "Give this client the credentials of the node, or the node an ACL that admits it",
  AUTHFAILED: "Check user and password of the digest",
  CONNECTIONLOSS: "Check that a majority of the ZooKeeper servers is up and can be reached",
  SESSIONEXPIRED: "Open a new session",
};

/** Of a node. Times are milliseconds of the leading server's clock. */
export type Stat = {
  /** Transaction that created it. */
  readonly createdZxid: bigint;
  /** Transaction that changed its data last. */
  readonly modifiedZxid: bigint;
  readonly createdMs: bigint;
  readonly modifiedMs: bigint;
  /** Changes of its data; what setData and delete compare. */
  readonly version: number;
  /** Changes of its children. */
  readonly childrenVersion: number;
  readonly aclVersion: number;
  /** Session that it ends with; 0 when it stays. */
  readonly ephemeralOwner: bigint;
  readonly dataLength: number;
  readonly childCount: number;
  /** Transaction that changed its children last. */
  readonly childrenZxid: bigint;
};

export function readStat(reader: JuteReader): Stat {
  return {
    createdZxid: reader.long(),
    modifiedZxid: reader.long(),
    createdMs: reader.long(),
    modifiedMs: reader.long(),
    version: reader.int(),
    childrenVersion: reader.int(),
    aclVersion: reader.int(),
    ephemeralOwner: reader.long(),
    dataLength: reader.int(),
    childCount: reader.int(),
    childrenZxid: reader.long(),
  };
}

/** Bits of an ACL entry. */
export const PERMISSION = { read: 1, write: 2, create: 4, delete: 8, admin: 16, all: 31 } as const;
export type AclEntry = {
  readonly permissions: number;
  readonly scheme: string;
  readonly id: string;
};
export const OPEN_TO_ALL: readonly AclEntry[] = [
  { permissions: PERMISSION.all, scheme: "world", id: "anyone" },
];
/** Whoever has authenticated as the creator has. */
export const CREATOR_ALL: readonly AclEntry[] = [
  { permissions: PERMISSION.all, scheme: "auth", id: "" },
];

export type CreateMode = {
  /** It goes when the session ends. */
  readonly isEphemeral?: boolean;
  /** The server appends a number of ten digits to its name, ascending in its parent. */
  readonly isSequential?: boolean;
  readonly acl?: readonly AclEntry[];
};

/** A step of a multi: all are carried out, or none. Version −1 is any. */
export type Step =
  | ({ readonly kind: "create"; readonly path: string; readonly data: Uint8Array } & CreateMode)
  | { readonly kind: "delete"; readonly path: string; readonly version: number }
  | {
      readonly kind: "setData";
      readonly path: string;
      readonly data: Uint8Array;
      readonly version: number;
    }
  | { readonly kind: "check"; readonly path: string; readonly version: number };

export type StepResult =
  | { readonly kind: "created"; readonly path: string }
  | { readonly kind: "set"; readonly stat: Stat }
  | { readonly kind: "done" };

export function writeCreate(
  writer: JuteWriter,
  path: string,
  data: Uint8Array,
  { isEphemeral = false, isSequential = false, acl = OPEN_TO_ALL }: CreateMode,
): void {
  writer.text(path);
  writer.buffer(data);
  writer.int(acl.length);
  for (const { permissions, scheme, id } of acl) {
    writer.int(permissions);
    writer.text(scheme);
    writer.text(id);
  }
  writer.int((isEphemeral ? 1 : 0) | (isSequential ? 2 : 0));
}

const STEP_OP = {
  create: OP.create,
  delete: OP.delete,
  setData: OP.setData,
  check: OP.check,
} as const;

/** @param full the path as the server knows it */
export function writeMulti(
  writer: JuteWriter,
  steps: readonly Step[],
  full: (path: string) => string,
): void {
  for (const step of steps) {
    writeMultiHeader(writer, STEP_OP[step.kind], false);
    if (step.kind === "create") {
      writeCreate(writer, full(step.path), step.data, step);
      continue;
    }
    writer.text(full(step.path));
    if (step.kind === "setData") writer.buffer(step.data);
    writer.int(step.version);
  }
  writeMultiHeader(writer, OP.error, true);
}

function writeMultiHeader(writer: JuteWriter, type: number, isDone: boolean): void {
  writer.int(type);
  writer.bool(isDone);
  writer.int(-1);
}

/**
 * @param local the path as the caller knows it
 * @throws ZooKeeperError of the step that could not be carried out
 */
export function readMulti(
  reader: JuteReader,
  steps: readonly Step[],
  local: (path: string) => string,
): StepResult[] {
  const results: StepResult[] = [];
  let failed: ZooKeeperError | null = null;
  for (let at = 0; ; at++) {
    const type = reader.int();
    const isDone = reader.bool();
    reader.int(); // the error again
    if (isDone) break;
    const step = steps[at];
    if (step === undefined) throw new DecodeError("A multi has more results than steps");
    if (type === OP.error) {
      // The steps before the failed one answer 0, those behind it RUNTIMEINCONSISTENCY.
      const error = reader.int();
      if (error !== 0 && (failed === null || failed.code === "RUNTIMEINCONSISTENCY"))
        failed = errorOf(error, `${step.kind} ${step.path} (step ${at + 1} of ${steps.length})`);
    } else if (type === OP.create) results.push({ kind: "created", path: local(reader.text()) });
    else if (type === OP.setData) results.push({ kind: "set", stat: readStat(reader) });
    else if (type === OP.delete || type === OP.check) results.push({ kind: "done" });
    else throw new DecodeError(`A multi has a result of type ${type}`);
  }
  if (failed !== null) throw failed;
  return results;
}

export type WatchKind = "created" | "deleted" | "dataChanged" | "childrenChanged";
const WATCH_KINDS: Readonly<Record<number, WatchKind>> = {
  1: "created",
  2: "deleted",
  3: "dataChanged",
  4: "childrenChanged",
};
export type WatchFired = { readonly kind: WatchKind | null; readonly path: string };

/** @returns kind null for a kind that has nothing to do with a node */
export function readWatch(reader: JuteReader): WatchFired {
  const type = reader.int();
  reader.int(); // state of the session, which we know better
  return { kind: WATCH_KINDS[type] ?? null, path: reader.text() };
}

export type Handshake = {
  readonly timeoutMs: number;
  readonly sessionId: bigint;
  readonly password: Uint8Array;
};

export function connectPacket(handshake: Handshake, lastZxid: bigint): Uint8Array {
  const writer = new JuteWriter();
  writer.int(0);
  writer.long(lastZxid);
  writer.int(handshake.timeoutMs);
  writer.long(handshake.sessionId);
  writer.buffer(handshake.password);
  writer.bool(false); // a read-only server is of no use to an election
  return writer.packet();
}

export function readConnect(packet: Uint8Array): Handshake {
  const reader = new JuteReader(packet);
  reader.int();
  return { timeoutMs: reader.int(), sessionId: reader.long(), password: reader.buffer() };
}
