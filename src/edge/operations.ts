/**
 * What each request of the edge protocol does.
 * @module
 */
import { isRockpoolError, RockpoolError, STATUS_CODES } from "../common/errors.ts";
import { unreachable } from "../common/invariant.ts";
import { parsePath } from "../common/path.ts";
import { badRequest, type EdgeCall, UPLOAD_WINDOW_BYTES } from "./edge_call.ts";
import { PAYLOAD_BYTES_MAX } from "./frame.ts";
import type { EdgeFile, EdgeFiles, EdgeLimits } from "./ports.ts";
import type { Watches } from "./watches.ts";
import type { EdgeEvent, EdgeListing, EdgeRequest, EdgeStatus, Range } from "./words.ts";

/** Of readMany: what is longer is no small range. */
export const SMALL_RANGE_BYTES_MAX = 64 * 1024;
/** Index, status and length before each answer of readMany. */
const ITEM_HEADER_BYTES = 12;
const RANGES_AT_ONCE = 8;

/** What the operations of one connection share. */
export type OperationDeps = {
  readonly files: EdgeFiles;
  readonly watches: Watches;
  readonly limits: EdgeLimits;
  readonly user: string;
  readonly canWrite: boolean;
};

/** Runs until the request's last frame was sent. @throws RockpoolError, which becomes that frame */
export async function serveRequest(
  request: EdgeRequest,
  call: EdgeCall,
  deps: OperationDeps,
): Promise<void> {
  const { files, user } = deps;
  switch (request.op) {
    case "status":
      return call.reply(await files.status(user, request.path));
    case "list":
      return list(request, call, deps);
    case "read":
      return read(request, call, deps);
    case "readMany":
      return readMany(request.ranges, call, deps);
    case "locate":
      return call.reply((await files.open(user, request.path)).places());
    case "watch":
      return watch(request, call, deps);
    case "write":
      return write(request, call, deps);
    case "delete": {
      requireWriter(deps);
      const { path, recursive: isRecursive = false, operation = null } = request;
      await files.remove(user, path, { isRecursive, operation });
      return call.reply({});
    }
    case "rename": {
      requireWriter(deps);
      const { path, to, overwrite: isOverwrite = false, operation = null } = request;
      await files.rename(user, path, to, { isOverwrite, operation });
      return call.reply({});
    }
    default:
      return unreachable(request);
  }
}

function requireWriter({ canWrite, user }: OperationDeps): void {
  if (!canWrite)
    throw new RockpoolError(
      "PERMISSION_DENIED",
      `Connections of ${user} may only read`,
      "Connect with a token that may write (rockpool.edge.tokens.path)",
    );
}

async function list(
  { path, after = "", limit = 1000 }: Extract<EdgeRequest, { op: "list" }>,
  call: EdgeCall,
  { files, user }: OperationDeps,
): Promise<void> {
  const listing = await files.list(user, path, after, limit);
  await call.reply(fitting(listing));
}

/** As much of a listing as one frame holds. */
function fitting(listing: EdgeListing): EdgeListing {
  const { entries } = listing;
  if (entries.length <= 1 || Buffer.byteLength(JSON.stringify(listing)) <= PAYLOAD_BYTES_MAX)
    return listing;
  const half = entries.slice(0, Math.ceil(entries.length / 2));
  return fitting({ entries: half, next: half.at(-1)?.name ?? null });
}

async function read(
  request: Extract<EdgeRequest, { op: "read" }>,
  call: EdgeCall,
  { files, user }: OperationDeps,
): Promise<void> {
  const file = await files.open(user, request.path);
  const { status } = file;
  requireSame(status, request.etag);
  const start = Math.min(request.offset ?? 0, status.lengthBytes);
  const end = Math.min(start + (request.length ?? status.lengthBytes), status.lengthBytes);
  await call.reply({ status, offset: start, length: end - start }, false);
  let at = start;
  if (end > start)
    for await (const chunk of file.chunks(start, end - start, call.signal)) {
      await call.chunk(chunk, at);
      at += chunk.bytes.length;
    }
  if (at !== end) throw endedEarly(request.path, at, end);
  call.end();
}

function endedEarly(path: string, at: number, end: number): RockpoolError {
  const what = `${path} ended at byte ${at}, before ${end}`;
  return new RockpoolError("UNAVAILABLE", what, "Read on from there");
}

function requireSame({ path, etag }: EdgeStatus, wanted: string | undefined): void {
  if (wanted !== undefined && wanted !== etag)
    throw new RockpoolError("ABORTED", `${path} was replaced`, "Read it from the beginning");
}

type Item = { readonly index: number; readonly code: number; readonly bytes: Uint8Array };

/** Answers in the order in which they are there, several to a frame. */
async function readMany(
  ranges: readonly Range[],
  call: EdgeCall,
  deps: OperationDeps,
): Promise<void> {
  for (const { length } of ranges)
    if (length > SMALL_RANGE_BYTES_MAX)
      throw badRequest(`has a range of ${length} bytes, more than ${SMALL_RANGE_BYTES_MAX}`);
  const opened = new Map<string, Promise<EdgeFile>>();
  const open = (path: string) => {
    const known = opened.get(path) ?? deps.files.open(deps.user, path);
    opened.set(path, known);
    known.catch(() => {}); // each range of the file reports it
    return known;
  };
  let ready: Item[] = [];
  let readyBytes = 0;
  const flush = async () => {
    const items = ready;
    ready = [];
    readyBytes = 0;
    if (items.length > 0) await call.data(packed(items), false);
  };
  let next = 0;
  const work = async () => {
    while (next < ranges.length) {
      const index = next++;
      const range = ranges[index];
      if (range === undefined) return;
      const item = await readItem(index, range, open, call);
      const itemBytes = ITEM_HEADER_BYTES + item.bytes.length;
      // Others may have filled it anew meanwhile.
      while (ready.length > 0 && readyBytes + itemBytes > call.frameBytes) await sending(flush);
      ready.push(item);
      readyBytes += itemBytes;
    }
  };
  // One frame at a time: credit has one waiter.
  let turn = Promise.resolve();
  const sending = (send: () => Promise<void>) => {
    const mine = turn.then(send);
    turn = mine.catch(() => {}); // told to whoever sends
    return mine;
  };
  await Promise.all(Array.from({ length: RANGES_AT_ONCE }, work));
  await sending(flush);
  call.end();
}

async function readItem(
  index: number,
  range: Range,
  open: (path: string) => Promise<EdgeFile>,
  call: EdgeCall,
): Promise<Item> {
  const { signal } = call;
  try {
    const file = await open(range.path);
    requireSame(file.status, range.etag);
    const start = Math.min(range.offset, file.status.lengthBytes);
    const length = Math.min(range.length, file.status.lengthBytes - start);
    const bytes = new Uint8Array(length);
    let at = 0;
    if (length > 0)
      for await (const chunk of file.chunks(start, length, signal)) {
        call.verify(chunk, range.path); // the frame that it becomes a part of has a checksum of its own
        bytes.set(chunk.bytes, at);
        at += chunk.bytes.length;
      }
    if (at !== length) throw endedEarly(range.path, start + at, start + length);
    return { index, code: 0, bytes };
  } catch (error) {
    if (!isRockpoolError(error) || signal.aborted) throw error;
    const { status, message, remedy } = error;
    const text = JSON.stringify({ status, message, remedy });
    return { index, code: STATUS_CODES[status], bytes: new TextEncoder().encode(text) };
  }
}

/** u32 index, u32 status code (0: fine), u32 length, then the bytes; one after the other. */
function packed(items: readonly Item[]): Uint8Array {
  const total = items.reduce((sum, { bytes }) => sum + ITEM_HEADER_BYTES + bytes.length, 0);
  const into = new Uint8Array(total);
  const view = new DataView(into.buffer);
  let at = 0;
  for (const { index, code, bytes } of items) {
    view.setUint32(at, index, true);
    view.setUint32(at + 4, code, true);
    view.setUint32(at + 8, bytes.length, true);
    into.set(bytes, at + ITEM_HEADER_BYTES);
    at += ITEM_HEADER_BYTES + bytes.length;
  }
  return into;
}

async function write(
  request: Extract<EdgeRequest, { op: "write" }>,
  call: EdgeCall,
  deps: OperationDeps,
): Promise<void> {
  requireWriter(deps);
  const { path, length, overwrite: isOverwrite = false } = request;
  if (length > deps.limits.writeBytesMax)
    throw new RockpoolError(
      "INVALID_ARGUMENT",
      `${path} is to have ${length} bytes, more than the ${deps.limits.writeBytesMax} that the edge takes`,
      "Write large files with a client of the cluster, or raise rockpool.edge.write.max",
    );
  const body = { lengthBytes: length, chunks: exactly(call.upload(), length, path) };
  const { signal } = call;
  await call.reply(await deps.files.create(deps.user, path, body, { isOverwrite, signal }));
}

/** Fails a body that is not as long as it was said to be. */
async function* exactly(chunks: AsyncIterable<Uint8Array>, lengthBytes: number, path: string) {
  let received = 0;
  for await (const bytes of chunks) {
    received += bytes.length;
    if (received > lengthBytes) break;
    yield bytes;
  }
  if (received !== lengthBytes)
    throw new RockpoolError(
      "INVALID_ARGUMENT",
      `The body of ${path} is not the ${lengthBytes} bytes that were announced`,
      "Send as many bytes as the request says",
    );
}

/** Lasts until it is cancelled. What does not fit is made up for by one "missed". */
async function watch(
  request: Extract<EdgeRequest, { op: "watch" }>,
  call: EdgeCall,
  { files, user, watches }: OperationDeps,
): Promise<void> {
  const path = parsePath(request.path);
  const mayKnow = await files.watchable(user, path);
  let hasMissed = false;
  const tell = (event: EdgeEvent) => {
    const known = knownPart(event, mayKnow);
    if (known === null || hasMissed || call.event(known)) return;
    hasMissed = true;
    void tellMissed();
  };
  const tellMissed = async () => {
    try {
      while (hasMissed) {
        await call.whenRoom();
        hasMissed = !call.event({ kind: "missed", path });
      }
    } catch (error) {
      if (!isRockpoolError(error, "CANCELLED")) throw error; // the watch has ended
    }
  };
  const end = watches.add({ path, isRecursive: request.recursive ?? false, tell });
  try {
    await call.reply({ path }, false);
    await new Promise<void>((resolve) => {
      if (call.signal.aborted) resolve();
      else call.signal.addEventListener("abort", () => resolve());
    });
  } finally {
    end();
  }
}

/** What somebody may know of an event: of a renaming perhaps one end. */
function knownPart(event: EdgeEvent, mayKnow: (path: string) => boolean): EdgeEvent | null {
  const { path, to } = event;
  if (to === undefined) return mayKnow(path) ? event : null;
  if (mayKnow(path)) return mayKnow(to) ? event : { kind: "deleted", path };
  return mayKnow(to) ? { kind: "created", path: to } : null;
}

export function expectsUpload(request: EdgeRequest): boolean {
  return request.op === "write";
}

/** Credit of an upload that a client has without asking. */
export const FIRST_UPLOAD_BYTES = UPLOAD_WINDOW_BYTES;
