/**
 * Changing files, for those who may: small files as a whole, removing, renaming.
 *
 * Removing and renaming are done once however often they have to be sent. A file that is to replace none is sent once:
 * whether it is there after a connection broke is not known, and told as UNKNOWN.
 * @module
 */
import { FRAME } from "../../src/edge/frame.ts";
import type { EdgeStatus } from "../../src/edge/words.ts";
import type { RockpoolClient } from "./client.ts";
import { EdgeError } from "./edge_error.ts";
import { documentOf } from "./session.ts";

export type WriteOptions = { readonly overwrite?: boolean; readonly signal?: AbortSignal };

const operationOf = () =>
  [...crypto.getRandomValues(new Uint8Array(16))]
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join("");

/** Writes a whole file, and makes the directories above it. @throws EdgeError ALREADY_EXISTS unless `overwrite` */
export function writeFile(
  client: RockpoolClient,
  path: string,
  content: Uint8Array | string,
  { overwrite = false, signal }: WriteOptions = {},
): Promise<EdgeStatus> {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  const { length } = bytes;
  let furthest = 0;
  return client.retried(async (session, patience) => {
    const { windowBytes, frameBytes } = await session.welcomed;
    let credit = windowBytes;
    let at = 0;
    let isSent = false;
    let id = 0;
    const pump = () => {
      while (!isSent && (credit > 0 || length === at)) {
        const end = Math.min(at + Math.min(frameBytes, credit), length);
        isSent = end === length;
        session.send(FRAME.data, id, 0, bytes.subarray(at, end), isSent);
        credit -= end - at;
        at = end;
      }
    };
    const begun = (given: number) => {
      id = given;
      pump();
    };
    const request = { op: "write", path, length, overwrite };
    try {
      for await (const frame of session.frames(request, 0, patience, begun)) {
        if (frame.type === FRAME.reply) return documentOf<EdgeStatus>(frame);
        credit += frame.argument;
        pump();
        if (at > furthest) patience.wait();
        furthest = Math.max(furthest, at);
      }
    } catch (error) {
      const isTooLate = error === patience.signal.reason && !signal?.aborted;
      if (!overwrite && (error === session.failure || isTooLate))
        throw new EdgeError("UNKNOWN", `Nobody says whether ${path} was written`, "Look for it");
      throw error;
    }
    throw new EdgeError("INTERNAL", `No answer to writing ${path}`);
  }, signal);
}

export function remove(
  client: RockpoolClient,
  path: string,
  options: { readonly recursive?: boolean; readonly signal?: AbortSignal } = {},
): Promise<void> {
  const { recursive = false, signal } = options;
  return client.call({ op: "delete", path, recursive, operation: operationOf() }, signal);
}

export function rename(
  client: RockpoolClient,
  path: string,
  to: string,
  { overwrite = false, signal }: WriteOptions = {},
): Promise<void> {
  return client.call({ op: "rename", path, to, overwrite, operation: operationOf() }, signal);
}
