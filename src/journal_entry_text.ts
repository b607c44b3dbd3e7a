/**
 * Entries of a journal for people, one command after the other.
 * @module
 */
import { DecodeError } from "./common/bytes.ts";
import { messageOf } from "./common/errors.ts";
import { unbundle } from "./journal/bundle.ts";
import { decodeEntry } from "./master/command.ts";
import { decodeMembership } from "./raft/membership.ts";
import type { Entry } from "./raft/messages.ts";

function plainValue(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  if (value instanceof Map)
    return Object.fromEntries([...value].map(([key, item]) => [String(key), item]));
  return value;
}

function bodyOf(entry: Entry): unknown {
  if (entry.kind === "noop") return {};
  if (entry.kind === "config") return decodeMembership(entry.payload);
  return decodeEntry(entry.payload);
}

/** Commands that share an entry, one by one. */
export function commandsOf(entry: Entry): readonly Entry[] {
  if (entry.kind !== "commands") return [entry];
  try {
    return unbundle(entry.payload).map((payload) => ({ ...entry, kind: "command", payload }));
  } catch (error) {
    if (error instanceof DecodeError) return [entry];
    throw error;
  }
}

export function plainText(body: unknown): string {
  return JSON.stringify(body, plainValue, 2);
}

/** Unreadable ones show their bytes. */
export function textOf(entry: Entry): string {
  let body: unknown;
  try {
    body = bodyOf(entry);
  } catch (error) {
    body = { unreadable: messageOf(error), bytes: Buffer.from(entry.payload).toString("hex") };
  }
  return plainText(body);
}
