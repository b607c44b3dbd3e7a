/**
 * Whether bytes are a row of the namespace (see inode.ts): what comes from a backup is looked at before it comes near the tree.
 *
 * Pure. One row at a time; that rows fit together is not checked.
 * @module
 */
import { DecodeError } from "../common/bytes.ts";
import {
  dedupeRow,
  idOfKey,
  inodeRow,
  intentRow,
  lengthRow,
  mountRow,
  nameOfDentryKey,
  pathConfigurationRow,
  pathOfConfigurationKey,
  persistRow,
  stateRow,
  TABLE,
} from "./inode.ts";

const ID_KEY_BYTES = 9;
const ID_BYTES = 8;
const DEDUPE_KEY_BYTES_MIN = 18;

type Check = (key: Uint8Array, value: Uint8Array) => void;

function requireLength(isRight: boolean, what: string, bytes: Uint8Array): void {
  if (!isRight) throw new DecodeError(`A ${what} of ${bytes.length} B`);
}

/** A row whose key is an id, and whose value must decode. */
function byId(decode: (value: Uint8Array) => unknown): Check {
  return (key, value) => {
    requireLength(key.length === ID_KEY_BYTES, "key with an id", key);
    decode(value);
  };
}

const none = (value: Uint8Array) => requireLength(value.length === 0, "mark", value);
const id = (value: Uint8Array) => requireLength(value.length === ID_BYTES, "id", value);
const dedupeKey = (key: Uint8Array) =>
  requireLength(key.length >= DEDUPE_KEY_BYTES_MIN, "key of an operation", key);

/** @throws DecodeError */
function requireText(read: () => string, what: string): string {
  try {
    return read();
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause;
    throw new DecodeError(`${what} is not UTF-8`, { cause });
  }
}

function checkName(key: Uint8Array): void {
  requireLength(key.length > ID_KEY_BYTES, "key of a directory entry", key);
  requireText(() => nameOfDentryKey(key), "The name of a directory entry");
}

function checkPath(key: Uint8Array): void {
  const path = requireText(() => pathOfConfigurationKey(key), "The path of a configuration");
  if (!path.startsWith("/")) throw new DecodeError("The path of a configuration is not absolute");
}

const CHECKS: ReadonlyMap<number | undefined, Check> = new Map<number, Check>([
  [TABLE.block, byId(lengthRow.decode)],
  [TABLE.mount, byId(mountRow.decode)],
  [TABLE.persist, byId(persistRow.decode)],
  [TABLE.intent, byId(intentRow.decode)],
  [TABLE.dedupeOrder, byId(dedupeKey)],
  [TABLE.reclaim, byId(none)],
  [TABLE.pinned, byId(none)],
  [TABLE.moved, byId(id)],
  [
    TABLE.inode,
    (key, value) => {
      const inode = inodeRow.decode(value);
      requireLength(key.length === ID_KEY_BYTES, "key with an id", key);
      if (inode.id !== idOfKey(key)) throw new DecodeError("An inode under the id of another");
    },
  ],
  [
    TABLE.dentry,
    (key, value) => {
      checkName(key);
      id(value);
    },
  ],
  [
    TABLE.dedupe,
    (key, value) => {
      dedupeKey(key);
      dedupeRow.decode(value);
    },
  ],
  [
    TABLE.pathConfiguration,
    (key, value) => {
      checkPath(key);
      pathConfigurationRow.decode(value);
    },
  ],
  [
    TABLE.state,
    (key, value) => {
      requireLength(key.length === 1, "key of the state", key);
      stateRow.decode(value);
    },
  ],
]);

/** @throws DecodeError unless the bytes are a row of the namespace */
export function checkRow(key: Uint8Array, value: Uint8Array): void {
  const check = CHECKS.get(key[0]);
  if (check === undefined) throw new DecodeError(`A row of table ${key[0]}`);
  check(key, value);
}
