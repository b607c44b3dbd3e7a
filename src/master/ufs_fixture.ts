/**
 * For tests: a master over a local under store that the test watches, holds up and makes fail.
 * @module
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after } from "node:test";
import { isRockpoolError, type StatusName } from "../common/errors.ts";
import { Accounts, LocalUnderFileSystem } from "../ufs/local_ufs.ts";
import type { UfsCreateOptions, UnderFileSystem } from "../ufs/under_file_system.ts";
import type { ListOptions } from "./api.ts";
import {
  at,
  callBy,
  createMasterFixture,
  LIST,
  type MasterFixture,
  ROOT_USER,
} from "./master_fixture.ts";

const folder = mkdtempSync(join(tmpdir(), "rockpool-namespace-"));
after(() => rmSync(folder, { recursive: true, force: true }));
let made = 0;
const accounts = new Accounts();

/** A local store that counts, and that a test can hold up or make fail. */
export class WatchedUfs implements UnderFileSystem {
  readonly type = "watched";
  readonly calls: string[] = [];
  /** Throws, or waits, in a test's name; given each call that changes something. */
  before: (call: string) => Promise<void> | void = () => {};
  readonly #inner: LocalUnderFileSystem;

  constructor(root: string) {
    this.#inner = new LocalUnderFileSystem(root, { accounts });
  }

  async #note(call: string): Promise<void> {
    this.calls.push(call);
    await this.before(call);
  }

  async status(path: string) {
    await this.#note(`status ${path}`);
    return this.#inner.status(path);
  }
  async list(path: string) {
    await this.#note(`list ${path}`);
    return this.#inner.list(path);
  }
  async createDirectory(path: string, options: UfsCreateOptions) {
    await this.#note(`mkdir ${path}`);
    await this.#inner.createDirectory(path, options);
  }
  async create(path: string, options: UfsCreateOptions) {
    await this.#note(`create ${path}`);
    return this.#inner.create(path, options);
  }
  open(path: string) {
    return this.#inner.open(path);
  }
  async rename(from: string, to: string) {
    await this.#note(`rename ${from} ${to}`);
    await this.#inner.rename(from, to);
  }
  async remove(path: string, isRecursive: boolean) {
    await this.#note(`remove ${path}`);
    return this.#inner.remove(path, isRecursive);
  }
  async setMode(path: string, mode: number) {
    await this.#note(`setMode ${path}`);
    await this.#inner.setMode(path, mode);
  }
  setOwner(path: string, owner: string, group: string) {
    return this.#inner.setOwner(path, owner, group);
  }
  space() {
    return this.#inner.space();
  }
}

export function createMaster() {
  const root = join(folder, `ufs-${made++}`);
  mkdirSync(root);
  const ufs = new WatchedUfs(root);
  const put = (path: string, text = "x") => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  };
  return { root, ufs, put, ...createMasterFixture({ ufs, rootUfsUri: root }) };
}

export const root = callBy(ROOT_USER);
export const COMPLETE = { ufsLengthBytes: null, isAsyncPersist: false, contentHash: "" };
export const REMOVE = { isRecursive: true, isAlluxioOnly: false };

export async function rejects(work: Promise<unknown>, status: StatusName, message?: RegExp) {
  await assert.rejects(work, (error: unknown) => {
    assert.ok(isRockpoolError(error), String(error));
    assert.equal(error.status, status, error.message);
    if (message !== undefined) assert.match(error.message, message);
    return true;
  });
}

export async function list(
  { fileSystem }: Pick<MasterFixture, "fileSystem">,
  path: string,
  options: Partial<ListOptions> = {},
) {
  const paths: string[] = [];
  for await (const batch of fileSystem.listStatus(root, at(path), { ...LIST, ...options }))
    for (const info of batch) paths.push(info.path);
  return paths;
}
