/**
 * One entry of the journal, carried out; and the same checks for the leader before it proposes.
 *
 * Pure and deterministic: what an entry does depends on the rows and the entry alone. An operation that carries an
 * id is done once: a repeat by the same user gets the first result, for as long as the dedupe table remembers it.
 * @module
 */
import { isRockpoolError, type StatusName } from "../common/errors.ts";
import { unreachable } from "../common/invariant.ts";
import type { KeyValueReader } from "../kv/kv.ts";
import type { OperationId } from "./api.ts";
import {
  checkRename,
  checkSchedulePersist,
  checkSetAttribute,
  rename,
  schedulePersist,
  setAttribute,
} from "./apply_change.ts";
import type { ChangeContext, CheckContext, Outcome } from "./apply_context.ts";
import {
  checkCommitBlock,
  checkCompleteFile,
  checkCreateDirectory,
  checkCreateFile,
  checkNewBlock,
  commitBlock,
  completeFile,
  createDirectory,
  createFile,
  newBlock,
} from "./apply_create.ts";
import {
  checkPathConfiguration,
  removePathConfiguration,
  setPathConfiguration,
} from "./apply_path_conf.ts";
import { checkRemove, reclaim, remove } from "./apply_remove.ts";
import {
  checkRestoreBegin,
  checkRestoreEnd,
  checkRestoreRows,
  isRestore,
  restoreBegin,
  restoreEnd,
  restoreRefusal,
  restoreRows,
} from "./apply_restore.ts";
import {
  checkFilePersisted,
  filePersisted,
  initializeNamespace,
  intentsDone,
  loadedFromUfs,
} from "./apply_ufs.ts";
import type { Command, JournalEntry } from "./command.ts";
import { type ApplyValue, type DedupeRow, dedupeKey, dedupeRow, idKey, TABLE } from "./inode.ts";
import type { NamespaceEditor } from "./inode_tree.ts";

/** What every master computes of an entry; errors are results too. */
export type ApplyResult =
  | { readonly isOk: true; readonly value: ApplyValue; readonly intentIds: readonly number[] }
  | {
      readonly isOk: false;
      readonly status: StatusName;
      readonly message: string;
      readonly remedy: string;
    };

/**
 * Checks a command against the rows, without changing them.
 * @returns what carries it out
 * @throws RockpoolError the answer that the client gets
 */
export function check(context: CheckContext, command: Command): (change: ChangeContext) => Outcome {
  switch (command.kind) {
    case "initializeNamespace":
      return (change) => initializeNamespace(change, command);
    case "createDirectory": {
      const walk = checkCreateDirectory(context, command);
      return (change) => createDirectory(change, walk, command);
    }
    case "createFile": {
      const walk = checkCreateFile(context, command);
      return (change) => createFile(change, walk, command);
    }
    case "newBlock": {
      const file = checkNewBlock(context, command);
      return (change) => newBlock(change, file);
    }
    case "completeFile": {
      const completion = checkCompleteFile(context, command);
      return (change) => completeFile(change, completion, command);
    }
    case "remove": {
      const target = checkRemove(context, command);
      return (change) => remove(change, target, command);
    }
    case "rename": {
      const plan = checkRename(context, command);
      return (change) => rename(change, plan);
    }
    case "setAttribute": {
      const inodes = checkSetAttribute(context, command);
      return (change) => setAttribute(change, inodes, command);
    }
    case "commitBlock": {
      const known = checkCommitBlock(context, command);
      return (change) => commitBlock(change, known, command);
    }
    case "schedulePersist": {
      const inode = checkSchedulePersist(context, command);
      return (change) => schedulePersist(change, inode);
    }
    case "filePersisted": {
      const file = checkFilePersisted(context, command);
      return (change) => filePersisted(change, file, command);
    }
    case "loadedFromUfs":
      return (change) => loadedFromUfs(change, command);
    case "intentsDone":
      return (change) => intentsDone(change, command);
    case "reclaim":
      return (change) => reclaim(change, command);
    case "restoreBegin":
      checkRestoreBegin(context, command);
      return (change) => restoreBegin(change, command);
    case "restoreRows": {
      const restoring = checkRestoreRows(context, command);
      return (change) => restoreRows(change, restoring, command);
    }
    case "restoreEnd":
      checkRestoreEnd(context);
      return (change) => restoreEnd(change, command);
    case "setPathConfiguration":
      checkPathConfiguration(context, command);
      return (change) => setPathConfiguration(change, command);
    case "removePathConfiguration":
      return (change) => removePathConfiguration(change, command);
    default:
      return unreachable(command);
  }
}

/** Part of the dedupe key, so that an id used for two kinds of call is two operations; 0: not remembered. */
const DEDUPE_TAGS: Partial<Record<Command["kind"], number>> = {
  createDirectory: 2,
  createFile: 3,
  newBlock: 4,
  completeFile: 5,
  remove: 6,
  rename: 7,
};

function keyOf(
  operationId: OperationId | null,
  kind: Command["kind"],
  user: string,
): Uint8Array | null {
  const tag = DEDUPE_TAGS[kind];
  return operationId === null || tag === undefined ? null : dedupeKey(operationId, tag, user);
}

/** The result that an operation had when it was done before; null when it was not. */
export function firstResult(
  rows: KeyValueReader,
  { operationId, principal, command }: Omit<JournalEntry, "timeMs">,
): DedupeRow | null {
  const key = keyOf(operationId, command.kind, principal.user);
  const value = key === null ? undefined : rows.get(key);
  return value === undefined ? null : dedupeRow.decode(value);
}

function remember(
  editor: NamespaceEditor,
  key: Uint8Array,
  outcome: Outcome,
  entriesMax: number,
): void {
  const { transaction } = editor;
  const number = editor.state.nextDedupeNumber;
  transaction.put(key, dedupeRow.encode(outcome));
  transaction.put(idKey(TABLE.dedupeOrder, BigInt(number)), key);
  editor.setState({ nextDedupeNumber: number + 1 });
  if (number <= entriesMax) return;
  const oldest = idKey(TABLE.dedupeOrder, BigInt(number - entriesMax));
  const oldestKey = transaction.get(oldest);
  transaction.remove(oldest);
  if (oldestKey !== undefined) transaction.remove(oldestKey);
}

export function applyEntry(
  editor: NamespaceEditor,
  entry: JournalEntry,
  { dedupeEntriesMax }: { readonly dedupeEntriesMax: number },
): ApplyResult {
  const { command, principal } = entry;
  const key = keyOf(entry.operationId, command.kind, principal.user);
  const first = firstResult(editor.transaction, entry);
  if (first !== null) return { isOk: true, ...first };
  // Leaders stamp from their own clocks: a new one's may be behind what the last one wrote.
  const timeMs = Math.max(entry.timeMs, editor.state.lastTimeMs + 1);
  let carryOut: (change: ChangeContext) => Outcome;
  try {
    const restoring = editor.restoring();
    if (restoring !== null && !isRestore(command)) throw restoreRefusal(restoring);
    carryOut = check({ view: editor.view, mounts: editor.mounts(), principal }, command);
  } catch (error) {
    if (!isRockpoolError(error)) throw error;
    return { isOk: false, status: error.status, message: error.message, remedy: error.remedy };
  }
  const outcome = carryOut({ editor, principal, timeMs });
  if (!isRestore(command)) editor.setState({ lastTimeMs: timeMs });
  if (key !== null) remember(editor, key, outcome, dedupeEntriesMax);
  return { isOk: true, ...outcome };
}
