/**
 * An under store in a bucket of S3, or of a store that speaks its protocol.
 *
 * - Directories are as Alluxio makes them: an empty object whose key ends in "/". What has objects below it is a directory, too, with
 *   or without that object; one without it is gone with the last of them. Parents need no objects of their own.
 * - A rename is a copy and a removal: of a file in one step for who looks at the new name. A directory's is noted in
 *   `.rockpool.tmp.rename.<digest of both names>` beside the new name until it is done, so that asking again goes on with it.
 * - Owners and modes are not kept: all files have those that the options name. The fingerprint is the etag.
 * - A reader sees one version of a file, or fails.
 * @module
 */
import { createHash } from "node:crypto";
import { RockpoolError } from "../common/errors.ts";
import {
  REMOVED_AT_ONCE_MAX,
  S3Bucket,
  type S3Object,
  type S3Options,
  type S3Page,
} from "./s3_client.ts";
import { S3Writer } from "./s3_upload.ts";
import { SequentialReader } from "./sequential_reader.ts";
import {
  TEMPORARY_PREFIX,
  type UfsCreateOptions,
  type UfsReader,
  type UfsStatus,
  type UfsWriter,
  type UnderFileSystem,
} from "./under_file_system.ts";

export type S3UfsOptions = S3Options & {
  readonly owner?: string;
  readonly group?: string;
  readonly mode?: number;
};

/** Alluxio's default. */
const MODE = 0o700;
const COPIES_AT_ONCE = 16;

export class S3UnderFileSystem implements UnderFileSystem {
  readonly type = "s3";
  readonly #bucket: S3Bucket;
  readonly #root: string;
  readonly #options: S3UfsOptions;

  /** @param root absolute path within the bucket of what the mount names */
  constructor(root: string, options: S3UfsOptions) {
    this.#options = options;
    this.#bucket = new S3Bucket(options);
    this.#root = keyOf(root);
  }

  /** The key of a path; "" is the whole bucket. */
  #check(path: string): string {
    const key = keyOf(path);
    const names = key.split("/");
    const isInside = this.#root === "" || key === this.#root || key.startsWith(`${this.#root}/`);
    const isPlain = key === "" || !names.some((name) => /^\.{0,2}$/.test(name));
    if (path.startsWith("/") && isInside && isPlain) return key;
    throw new RockpoolError(
      "INVALID_ARGUMENT",
      `${path} is not in the under store ${this.#bucket.uri}/${this.#root}`,
      "Use a path below the root of the mount",
    );
  }

  #fileStatus(key: string, object: Omit<S3Object, "maker">): UfsStatus {
    const { lengthBytes, lastModifiedMs, etag } = object;
    return {
      ...this.#directoryStatus(key),
      isDirectory: false,
      lengthBytes,
      lastModifiedMs,
      fingerprint: etag,
    };
  }

  #directoryStatus(key: string): UfsStatus {
    const { owner = "", group = "", mode = MODE } = this.#options;
    return {
      name: nameOf(key),
      isDirectory: true,
      lengthBytes: 0,
      lastModifiedMs: 0,
      owner,
      group,
      mode,
      fingerprint: "",
    };
  }

  async status(path: string): Promise<UfsStatus | null> {
    const key = this.#check(path);
    const object = key === "" ? null : await this.#bucket.head(key);
    if (object !== null) return this.#fileStatus(key, object);
    return (await this.#isDirectory(key)) ? this.#directoryStatus(key) : null;
  }

  /** The root is one even with nothing in it: but the bucket must be there. */
  async #isDirectory(key: string): Promise<boolean> {
    const hasAny = await this.#hasAny(prefixOf(key), "");
    return hasAny || key === this.#root;
  }

  /** Whether there is something behind a key, but for what is hidden. */
  async #hasAny(prefix: string, after: string): Promise<boolean> {
    for await (const { objects } of this.#bucket.list(prefix, { after, isFlat: true, atOnce: 2 }))
      for (const { key } of objects)
        if (!key.slice(prefix.length).startsWith(TEMPORARY_PREFIX)) return true;
    return false;
  }

  async list(path: string): Promise<readonly UfsStatus[] | null> {
    const key = this.#check(path);
    const prefix = prefixOf(key);
    const found = new Map<string, UfsStatus>();
    let isThere = key === this.#root;
    for await (const { objects, prefixes } of this.#bucket.list(prefix)) {
      isThere ||= objects.length > 0 || prefixes.length > 0;
      for (const object of objects) found.set(object.key, this.#fileStatus(object.key, object));
      for (const below of prefixes) {
        const child = below.replace(/\/$/, "");
        if (!found.has(child)) found.set(child, this.#directoryStatus(child));
      }
    }
    // A file with the key of what looks like a directory hides it, as in `status`.
    if (!isThere || (key !== this.#root && (await this.#bucket.head(key)) !== null)) return null;
    return [...found]
      .map(([child, status]) => ({ status, name: child.slice(prefix.length) }))
      .filter(({ name }) => name !== "" && !name.startsWith(TEMPORARY_PREFIX))
      .map(({ status }) => ({ status, bytes: Buffer.from(status.name) }))
      .sort((left, right) => Buffer.compare(left.bytes, right.bytes))
      .map(({ status }) => status);
  }

  async createDirectory(path: string, _options: UfsCreateOptions): Promise<void> {
    const key = this.#check(path);
    if (key === "") return;
    if ((await this.#bucket.head(key)) !== null) throw exists(path, "is a file");
    if ((await this.#bucket.head(`${key}/`)) === null)
      await this.#bucket.put(`${key}/`, new Uint8Array());
  }

  async create(path: string, _options: UfsCreateOptions): Promise<UfsWriter> {
    const key = this.#check(path);
    await this.#requireNoDirectory(path, key);
    return new S3Writer(this.#bucket, key, async () => {
      const object = await this.#bucket.head(key);
      if (object !== null) return this.#fileStatus(key, object);
      throw new RockpoolError("NOT_FOUND", `${path} was removed while it was written`, "");
    });
  }

  async #requireNoDirectory(path: string, key: string): Promise<void> {
    if (await this.#isDirectory(key)) throw exists(path, "is a directory");
  }

  async open(path: string): Promise<UfsReader> {
    const key = this.#check(path);
    const object = key === "" ? null : await this.#bucket.head(key);
    if (object === null)
      throw new RockpoolError(
        "NOT_FOUND",
        `${path} is not a file in the under store ${this.#bucket.uri}`,
        "It may have been removed there",
      );
    return new SequentialReader({
      lengthBytes: object.lengthBytes,
      open: (first, end) => this.#bucket.get(key, { first, last: end - 1 }, object.etag),
      errorOf: (error) => this.#bucket.readError(key, error),
    });
  }

  async rename(from: string, to: string): Promise<void> {
    const source = this.#check(from);
    const target = this.#check(to);
    if (source === target) return;
    const file = source === "" ? null : await this.#bucket.head(source);
    if (file !== null) {
      await this.#requireNoDirectory(to, target);
      await this.#bucket.copy(source, target, file);
      return this.#bucket.remove(source);
    }
    await this.#renameDirectory({ path: from, key: source }, { path: to, key: target });
  }

  async #renameDirectory(from: Place, to: Place): Promise<void> {
    if (isWithin(from.key, to.key))
      throw new RockpoolError(
        "INVALID_ARGUMENT",
        `${from.path} cannot be moved into itself, to ${to.path}`,
        "",
      );
    const note = noteOf(from.key, to.key);
    const isUnderWay = (await this.#bucket.head(note)) !== null;
    if (!(await this.#isDirectory(from.key))) {
      if (isUnderWay) return this.#bucket.remove(note);
      throw new RockpoolError(
        "NOT_FOUND",
        `${from.path} does not exist in the under store ${this.#bucket.uri}`,
        "",
      );
    }
    if (!isUnderWay) {
      await this.#requireNoDirectory(to.path, to.key);
      await this.#bucket.put(note, new Uint8Array());
    }
    // A directory takes the place of a file, as a file does.
    await this.#bucket.remove(to.key);
    await this.#copyBelow(prefixOf(from.key), prefixOf(to.key));
    await this.#removeBelow(prefixOf(from.key));
    await this.#bucket.remove(note);
  }

  async #copyBelow(from: string, to: string): Promise<void> {
    for await (const { objects } of this.#bucket.list(from, { isFlat: true })) {
      const rest = [...objects];
      const copyNext = async () => {
        for (let next = rest.shift(); next !== undefined; next = rest.shift())
          try {
            await this.#copyOne(next, to + next.key.slice(from.length));
          } catch (error) {
            rest.length = 0;
            throw error;
          }
      };
      // None is under way any more when this fails: a late copy would bring back what is removed by then.
      const done = await Promise.allSettled(Array.from({ length: COPIES_AT_ONCE }, copyNext));
      for (const one of done) if (one.status === "rejected") throw one.reason;
    }
  }

  /** Directories' objects are made anew: some stores do not copy them. */
  #copyOne(from: S3Page["objects"][number], to: string): Promise<void> {
    if (to.endsWith("/")) return this.#bucket.put(to, new Uint8Array());
    return this.#bucket.copy(from.key, to, from);
  }

  async #removeBelow(prefix: string): Promise<void> {
    let batch: string[] = [];
    for await (const { objects } of this.#bucket.list(prefix, { isFlat: true }))
      for (const { key } of objects) {
        batch.push(key);
        if (batch.length < REMOVED_AT_ONCE_MAX) continue;
        await this.#bucket.removeAll(batch);
        batch = [];
      }
    // Deepest first: some stores keep real directories.
    await this.#bucket.removeAll(batch.reverse());
  }

  async remove(path: string, isRecursive: boolean): Promise<boolean> {
    const key = this.#check(path);
    if (key === this.#root)
      throw new RockpoolError("INVALID_ARGUMENT", `${path} is the root of the under store`, "");
    if ((await this.#bucket.head(key)) !== null) {
      await this.#bucket.remove(key);
      return true;
    }
    if (!(await this.#isDirectory(key))) return false;
    const prefix = prefixOf(key);
    if (!isRecursive && (await this.#hasAny(prefix, prefix)))
      throw new RockpoolError(
        "FAILED_PRECONDITION",
        `${path} is a directory of the under store ${this.#bucket.uri} that is not empty`,
        "Remove it with what is in it",
      );
    await this.#removeBelow(prefix);
    return true;
  }

  /** S3 keeps no modes. */
  async setMode(path: string, _mode: number): Promise<void> {
    this.#check(path);
  }

  /** S3 keeps no owners that we could set. */
  async setOwner(path: string, _owner: string, _group: string): Promise<void> {
    this.#check(path);
  }

  async space(): Promise<null> {
    return null; // a bucket has no end
  }
}

type Place = { readonly path: string; readonly key: string };

function keyOf(path: string): string {
  return path.replace(/^\//, "").replace(/\/+$/, "");
}

function prefixOf(key: string): string {
  return key === "" ? "" : `${key}/`;
}

function nameOf(key: string): string {
  return key.slice(key.lastIndexOf("/") + 1);
}

function isWithin(outer: string, inner: string): boolean {
  return outer === "" || inner === outer || inner.startsWith(`${outer}/`);
}

/** Where the rename of a directory is noted. */
function noteOf(from: string, to: string): string {
  const digest = createHash("sha256").update(`${from}\0${to}`).digest("hex").slice(0, 32);
  return `${to.slice(0, to.lastIndexOf("/") + 1)}${TEMPORARY_PREFIX}rename.${digest}`;
}

function exists(path: string, what: string): RockpoolError {
  return new RockpoolError(
    "ALREADY_EXISTS",
    `${path} exists in the under store and ${what}`,
    "Remove it first",
  );
}
