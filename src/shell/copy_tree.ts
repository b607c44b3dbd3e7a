/**
 * Copies of files and trees between the local disk and the cluster, or within the cluster.
 *
 * A tree is walked while it is copied: at most WALK_AHEAD_MAX files wait, and `threads` are under way.
 * A file appears under its name when it is whole. One that failed does not stop the others: the failures come
 * back together. A file whose worker was lost in the middle is copied anew. After Ctrl-C nothing new begins, and of a file
 * that was begun nothing stays, unless it was whole by then: that one counts as copied.
 * @module
 */
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createReadStream, createWriteStream } from "node:fs";
import { readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join, normalize } from "node:path";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { FileOutStream } from "../client/file_out_stream.ts";
import type { FileSystem } from "../client/file_system.ts";
import { isRockpoolError, messageOf, RockpoolError } from "../common/errors.ts";
import { makeFolder } from "../world/folders.ts";
import { errorText, isLeftBehind, PartialFailure } from "./command.ts";
import { type Console, say } from "./console.ts";
import type { Progress } from "./progress.ts";

/** One side of a copy. */
export type Place =
  | { readonly kind: "local"; readonly path: string }
  | { readonly kind: "cluster"; readonly path: string; readonly files: FileSystem };

type Entry = { readonly isDirectory: boolean; readonly sizeBytes: number; readonly mode: number };

const WALK_AHEAD_MAX = 256;
const TRIES = 3;
const LOCAL_BUFFER_BYTES = 1024 * 1024;

export function shown(place: Place): string {
  return place.kind === "local" ? `file://${place.path}` : place.path;
}

function child(place: Place, name: string): Place {
  if (place.kind === "local") return { ...place, path: join(place.path, name) };
  return { ...place, path: place.path === "/" ? `/${name}` : `${place.path}/${name}` };
}

/** Whether a copy would be made of itself, and of the copy in it, without end. */
function isInside(from: Place, to: Place): boolean {
  const isOneStore =
    from.kind === "local" ? to.kind === "local" : to.kind === "cluster" && to.files === from.files;
  const [outer, inner] = [from, to].map(({ path }) => normalize(`${path}/`));
  return isOneStore && inner?.startsWith(outer ?? "") === true;
}

function copiesItself(from: Place, to: Place): RockpoolError {
  return new RockpoolError(
    "INVALID_ARGUMENT",
    `Cannot copy ${shown(from)} to ${shown(to)}, which is within it`,
    "Copy to a path beside it",
  );
}

export function nameOf(place: Place): string {
  return basename(place.path);
}

function localFailure(error: unknown, path: string): unknown {
  const code = (error as NodeJS.ErrnoException).code; // fs throws ErrnoException only
  if (code === "ENOENT")
    return new RockpoolError("NOT_FOUND", `Path "file://${path}" does not exist.`);
  if (code === "EACCES" || code === "EPERM")
    return new RockpoolError(
      "PERMISSION_DENIED",
      `Cannot open file://${path}: ${messageOf(error)}`,
    );
  return error;
}

/** Null when nothing is there. */
export async function entryOf(place: Place, signal?: AbortSignal): Promise<Entry | null> {
  if (place.kind === "local") {
    try {
      const found = await stat(place.path);
      return { isDirectory: found.isDirectory(), sizeBytes: found.size, mode: found.mode & 0o777 };
    } catch (error) {
      const failure = localFailure(error, place.path);
      if (isRockpoolError(failure, "NOT_FOUND")) return null;
      throw failure;
    }
  }
  try {
    const status = await place.files.getStatus(place.path, signal === undefined ? {} : { signal });
    return { isDirectory: status.isDirectory, sizeBytes: status.lengthBytes, mode: status.mode };
  } catch (error) {
    if (isRockpoolError(error, "NOT_FOUND")) return null;
    throw error;
  }
}

/** @returns entries of a directory; null for a file that went away meanwhile, or a link to nowhere */
async function* childrenOf(
  place: Place,
  signal: AbortSignal,
): AsyncGenerator<{ readonly name: string; readonly entry: Entry | null }> {
  if (place.kind === "cluster") {
    for await (const status of place.files.listStatus(place.path, { signal })) {
      const { isDirectory, lengthBytes: sizeBytes, mode } = status;
      yield { name: status.name, entry: { isDirectory, sizeBytes, mode } };
    }
    return;
  }
  for (const name of (await readdir(place.path)).sort())
    yield { name, entry: await entryOf(child(place, name)) };
}

export type CopyOptions = {
  readonly isRecursive: boolean;
  /** Owner, group and mode too. */
  readonly isPreserving: boolean;
  /** A local target of that name is replaced; in the cluster never. */
  readonly threads: number;
  readonly bufferBytes: number | null;
};

type Job = { readonly from: Place; readonly to: Place; readonly entry: Entry };

/** Refuses to wait for more than a bounded number of jobs. */
class JobQueue {
  readonly #jobs: Job[] = [];
  readonly #failures: string[] = [];
  readonly #leftBehind: string[] = [];
  readonly #run: (job: Job) => Promise<void>;
  readonly #threads: number;
  #running = 0;
  #changed: () => void = () => undefined;
  #copied = 0;

  constructor(threads: number, run: (job: Job) => Promise<void>) {
    this.#threads = threads;
    this.#run = run;
  }

  get failures(): readonly string[] {
    return this.#failures;
  }

  /** Files that an interrupted copy could not take back. */
  get leftBehind(): readonly string[] {
    return this.#leftBehind;
  }

  get copied(): number {
    return this.#copied;
  }

  fail(reason: string): void {
    this.#failures.push(reason);
  }

  async add(job: Job): Promise<void> {
    while (this.#jobs.length >= WALK_AHEAD_MAX) await this.#change();
    this.#jobs.push(job);
    this.#fill();
  }

  async drained(): Promise<void> {
    while (this.#running > 0 || this.#jobs.length > 0) await this.#change();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#changed = resolve;
    });
  }

  #fill(): void {
    while (this.#running < this.#threads) {
      const job = this.#jobs.shift();
      if (job === undefined) return;
      this.#running += 1;
      void this.#one(job);
    }
  }

  async #one(job: Job): Promise<void> {
    try {
      await this.#run(job);
      this.#copied += 1;
    } catch (error) {
      if (isLeftBehind(error)) this.#leftBehind.push(error.message);
      this.#failures.push(
        `Failed to copy ${shown(job.from)} to ${shown(job.to)}: ${errorText(error)}`,
      );
    }
    this.#running -= 1;
    this.#fill();
    this.#changed();
  }
}

export class TreeCopy {
  readonly #console: Console;
  readonly #progress: Progress;
  readonly #options: CopyOptions;

  constructor(console: Console, progress: Progress, options: CopyOptions) {
    this.#console = console;
    this.#progress = progress;
    this.#options = options;
  }

  /**
   * Copies a file, or a tree when asked to.
   * @throws RockpoolError when nothing could be copied; PartialFailure, after all others were, for those that were not
   */
  async copy(from: Place, to: Place): Promise<void> {
    this.#console.signal.throwIfAborted();
    const entry = await this.#entryOf(from);
    if (entry === null)
      throw new RockpoolError("NOT_FOUND", `Path "${shown(from)}" does not exist.`);
    if (!entry.isDirectory) {
      const job = { from, to: await this.#fileTarget(from, to), entry };
      this.#progress.expect(entry.sizeBytes);
      try {
        await this.#copyFile(job);
      } finally {
        this.#progress.clear();
      }
      return;
    }
    if (!this.#options.isRecursive)
      throw new RockpoolError(
        "FAILED_PRECONDITION",
        `${shown(from)} is a directory, to copy it please use "cp -R/-r/--recursive <src> <dst>"`,
      );
    await this.#copyTree(from, await this.#treeTarget(from, to), entry);
  }

  #entryOf(place: Place): Promise<Entry | null> {
    return entryOf(place, this.#console.signal);
  }

  /** A target that is a directory takes the file under its own name. */
  async #fileTarget(from: Place, to: Place): Promise<Place> {
    const found = await this.#entryOf(to);
    if (found === null) return to;
    const target = found.isDirectory ? child(to, nameOf(from)) : to;
    const inTheWay = found.isDirectory ? await this.#entryOf(target) : found;
    const mayReplace = target.kind === "local" && inTheWay?.isDirectory === false;
    if (inTheWay !== null && !mayReplace) throw alreadyExists(target);
    return target;
  }

  async #treeTarget(from: Place, to: Place): Promise<Place> {
    const found = await this.#entryOf(to);
    const target = found === null ? to : child(to, nameOf(from));
    if (isInside(from, target)) throw copiesItself(from, target);
    if (found === null) return to;
    if (!found.isDirectory) throw alreadyExists(to);
    const inTheWay = await this.#entryOf(target);
    if (inTheWay !== null && !(inTheWay.isDirectory && target.kind === "local"))
      throw alreadyExists(target);
    return target;
  }

  async #copyTree(from: Place, to: Place, entry: Entry): Promise<void> {
    const queue = new JobQueue(this.#options.threads, (job) => this.#copyFile(job));
    try {
      await this.#makeDirectory(to, entry);
      await this.#walk(from, to, queue);
      await queue.drained();
    } finally {
      this.#progress.clear();
    }
    if (this.#console.signal.aborted && queue.leftBehind.length > 0)
      throw new RockpoolError("UNKNOWN", queue.leftBehind.join("\n"), LOOK_REMEDY);
    if (queue.failures.length === 0) return;
    const shownFailures = queue.failures.slice(0, 20).join("\n");
    const more = queue.failures.length > 20 ? `\n… and ${queue.failures.length - 20} more` : "";
    throw new PartialFailure(
      `${shownFailures}${more}\n${queue.failures.length} not copied, ${queue.copied} copied`,
    );
  }

  async #walk(from: Place, to: Place, queue: JobQueue): Promise<void> {
    const { signal } = this.#console;
    try {
      for await (const { name, entry } of childrenOf(from, signal)) {
        signal.throwIfAborted();
        const [source, target] = [child(from, name), child(to, name)];
        if (entry === null) {
          queue.fail(`Failed to copy ${shown(source)}: Path "${shown(source)}" does not exist.`);
          continue;
        }
        if (!entry.isDirectory) {
          this.#progress.expect(entry.sizeBytes);
          await queue.add({ from: source, to: target, entry });
          continue;
        }
        await this.#makeDirectory(target, entry);
        await this.#walk(source, target, queue);
      }
    } catch (error) {
      queue.fail(`Failed to copy ${shown(from)}: ${errorText(localFailure(error, from.path))}`);
    }
  }

  async #makeDirectory(place: Place, entry: Entry): Promise<void> {
    if (place.kind === "local") {
      makeFolder(place.path, "the copy", "Copy to a folder that you may write in");
      return;
    }
    const mode = this.#options.isPreserving ? { mode: entry.mode } : {};
    const { signal } = this.#console;
    await place.files.createDirectory(place.path, { allowExists: true, signal, ...mode });
  }

  async #copyFile(job: Job): Promise<void> {
    for (let tries = 1; ; tries++)
      try {
        await this.#copyOnce(job);
        break;
      } catch (error) {
        const mayRetry = isRockpoolError(error, "UNAVAILABLE") && tries < TRIES;
        if (!mayRetry || this.#console.signal.aborted) throw localFailure(error, job.from.path);
      }
    this.#progress.clear();
    await say(this.#console, `Copied ${shown(job.from)} to ${shown(job.to)}`);
  }

  async #copyOnce({ from, to, entry }: Job): Promise<void> {
    const { signal } = this.#console;
    signal.throwIfAborted();
    const source = await this.#source(from);
    if (to.kind === "local") return this.#download(source, to.path);
    let sink: FileOutStream;
    try {
      const mode = this.#options.isPreserving ? { mode: entry.mode } : {};
      sink = await to.files.createFile(to.path, { signal, ...mode });
    } catch (error) {
      source.destroy();
      if (signal.aborted && isLeftBehind(error)) throw leftBehind(to, error);
      throw error;
    }
    try {
      await pipeline(source, this.#counted(), sink, { signal });
    } catch (error) {
      if (!sink.closed) await once(sink, "close");
      if (signal.aborted && sink.fate === "unknown") throw leftBehind(to, error);
      if (sink.fate !== "complete") throw error;
    }
    if (this.#options.isPreserving && from.kind === "cluster") await this.#preserveOwner(from, to);
  }

  async #source(from: Place): Promise<Readable> {
    const { signal } = this.#console;
    if (from.kind === "cluster") return from.files.createReadStream(from.path, { signal });
    return createReadStream(from.path, {
      highWaterMark: this.#options.bufferBytes ?? LOCAL_BUFFER_BYTES,
    });
  }

  /** To a temporary name first, so that a file under its own name is whole. */
  async #download(source: Readable, path: string): Promise<void> {
    const temporary = join(dirname(path), `.${basename(path)}.${randomUUID()}.copy`);
    const sink = createWriteStream(temporary, { flags: "wx", highWaterMark: LOCAL_BUFFER_BYTES });
    try {
      await pipeline(source, this.#counted(), sink, { signal: this.#console.signal });
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }

  #counted() {
    const progress = this.#progress;
    return async function* (chunks: AsyncIterable<Uint8Array>) {
      for await (const chunk of chunks) {
        yield chunk;
        progress.add(chunk.length);
      }
    };
  }

  async #preserveOwner(
    from: Extract<Place, { kind: "cluster" }>,
    to: Extract<Place, { kind: "cluster" }>,
  ): Promise<void> {
    const { owner, group } = await from.files.getStatus(from.path);
    await to.files.setAttribute(to.path, { owner, group });
  }
}

const LOOK_REMEDY = "Look with fs ls, and remove what is not whole";

function leftBehind(place: Place, cause: unknown): RockpoolError {
  return new RockpoolError(
    "UNKNOWN",
    `${shown(place)} may have been left there, not whole: no master said what became of it`,
    LOOK_REMEDY,
    { cause },
  );
}

export function alreadyExists(place: Place): RockpoolError {
  return new RockpoolError(
    "ALREADY_EXISTS",
    `${place.path} already exists. If you want to overwrite the file, you need to specify the overwrite option.`,
  );
}
