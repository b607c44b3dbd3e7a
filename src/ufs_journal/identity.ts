/**
 * Which journal lies in a folder of a shared store: one small text object, `rockpool-journal`, made when the journal is formatted.
 *
 * ```
 * {"version":1,"group":"<16 hex digits>","windowEntries":4096,"formattedMs":<wall-clock ms>}
 * ```
 * All that belongs to the journal lies below a folder named like its group: a master of a journal that was formatted anew can't meddle with the new one.
 * @module
 */
import { messageOf, RockpoolError } from "../common/errors.ts";
import { hex64 } from "../journal/member_ids.ts";
import type { LogStore } from "../ufs/log_store.ts";
import type { World } from "../world/ports.ts";

export const IDENTITY_NAME = "rockpool-journal";
const VERSION = 1;
const WINDOW_ENTRIES = 4096;
export const LOG_FOLDERS = ["log", "merged", "checkpoint", "passed"];

export type SharedIdentity = {
  readonly groupId: bigint;
  /** Of the windows that are marked as passed: the same for all masters, for ever. */
  readonly windowEntries: number;
  readonly formattedMs: number;
};

/** Null when no journal was formatted there. @throws RockpoolError DATA_LOSS when it can't be understood; what the store says */
export async function readIdentity(store: LogStore): Promise<SharedIdentity | null> {
  const bytes = await store.read(IDENTITY_NAME);
  if (bytes === null) return null;
  try {
    const read: unknown = JSON.parse(new TextDecoder().decode(bytes));
    const { version, group, windowEntries, formattedMs } = read as Record<string, unknown>;
    if (version !== VERSION) throw new Error(`its version ${String(version)} is not known`);
    if (typeof group !== "string" || !/^[0-9a-f]{16}$/.test(group)) throw new Error("no group");
    if (!Number.isSafeInteger(windowEntries) || Number(windowEntries) < 1)
      throw new Error("no length of windows");
    const groupId = BigInt(`0x${group}`);
    return { groupId, windowEntries: Number(windowEntries), formattedMs: Number(formattedMs) };
  } catch (error) {
    throw new RockpoolError(
      "DATA_LOSS",
      `${store.uri}/${IDENTITY_NAME} is damaged: ${messageOf(error)}`,
      `Bring it back from a copy: it names the one folder of 16 hex digits beside it that holds the journal`,
    );
  }
}

/** Whether anything was ever written to it. */
export async function isUsed(store: LogStore, { groupId }: SharedIdentity): Promise<boolean> {
  for (const folder of LOG_FOLDERS)
    if ((await store.list(`${hex64(groupId)}/${folder}`)).length > 0) return true;
  return false;
}

/** Makes an empty journal in the place of what is there. */
export async function formatShared(
  store: LogStore,
  { clock, random }: Pick<World, "clock" | "random">,
): Promise<SharedIdentity> {
  const before = await readIdentity(store).catch((error: unknown) => {
    if (error instanceof RockpoolError && error.status === "DATA_LOSS") return null;
    throw error;
  });
  await store.remove(IDENTITY_NAME);
  const groupId = (BigInt(random.uint32()) << 32n) | BigInt(random.uint32());
  const windowEntries = WINDOW_ENTRIES;
  const identity = { groupId, windowEntries, formattedMs: clock.wallMs() };
  const text = JSON.stringify({
    version: VERSION,
    group: hex64(groupId),
    windowEntries,
    formattedMs: identity.formattedMs,
  });
  const made = await store.create(IDENTITY_NAME, new TextEncoder().encode(text));
  if (before !== null) await removeJournal(store, before);
  if (made === "created") return identity;
  const theirs = await readIdentity(store);
  if (theirs !== null) return theirs; // two that formatted at once have one journal
  throw new RockpoolError(
    "ABORTED",
    `The journal in ${store.uri} was formatted by another master at the same moment`,
    "Format it again, on one master",
  );
}

async function removeJournal(store: LogStore, { groupId }: SharedIdentity): Promise<void> {
  for (const folder of LOG_FOLDERS) {
    const path = `${hex64(groupId)}/${folder}`;
    for (const name of await store.list(path)) await store.remove(`${path}/${name}`);
  }
}
