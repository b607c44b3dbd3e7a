/**
 * Brings into the namespace what is in the under stores and was never looked at: on demand, once.
 *
 * What a store says is journaled as a fact about the directory as it was when the store was asked; when its
 * children changed meanwhile the fact is void and the store is asked again. Places on which a change is pending
 * are asked only after it is done, else a file just removed would come back.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import type { InodeId } from "../common/ids.ts";
import { FILE_BLOCKS_MAX, NAME_BYTES_MAX } from "../common/limits.ts";
import { childOf, nameOf, namesOf, type Path, parentOf } from "../common/path.ts";
import { pathWithinStore, type UfsRegistry } from "../ufs/ufs_uri.ts";
import { TEMPORARY_PREFIX, type UfsStatus } from "../ufs/under_file_system.ts";
import type { LoadMetadata } from "./api.ts";
import type { UfsFact } from "./command.ts";
import type { DirectoryInode } from "./inode.ts";
import { lastOf } from "./inode_tree.ts";
import type { NamespaceEvent } from "./master_event.ts";
import { type Proposer, SYSTEM } from "./proposer.ts";
import type { MasterState } from "./state_machine.ts";
import type { UfsIntents } from "./ufs_intents.ts";

/** Facts in one entry: about 200 B each, so far below ENTRY_BYTES_MAX, and a millisecond or so to apply. */
const FACTS_MAX = 500;
/** How often a directory may change under a load before the caller is told to come again. */
const ATTEMPTS_MAX = 5;
/** Of what a store says of owners and versions; more is cut, so that an entry stays small. */
const LINE_MAX = 256;

const utf8 = new TextEncoder();

function isUsableName(name: string): boolean {
  if (name === "" || name === "." || name === ".." || name.startsWith(TEMPORARY_PREFIX))
    return false;
  // Bytes that are not UTF-8 were read as U+FFFD: the name would lead to nothing.
  if (/[/\0\ufffd]/.test(name)) return false;
  return utf8.encode(name).length <= NAME_BYTES_MAX;
}

export class UfsLoader {
  readonly #state: MasterState;
  readonly #proposer: Proposer;
  readonly #intents: UfsIntents;
  readonly #ufs: UfsRegistry;
  readonly #blockSizeBytes: number;
  readonly #onEvent: (event: NamespaceEvent) => void;
  readonly #running = new Map<string, Promise<void>>();

  constructor(parts: {
    readonly state: MasterState;
    readonly proposer: Proposer;
    readonly intents: UfsIntents;
    readonly ufs: UfsRegistry;
    readonly blockSizeBytes: number;
    readonly onEvent: (event: NamespaceEvent) => void;
  }) {
    this.#state = parts.state;
    this.#proposer = parts.proposer;
    this.#intents = parts.intents;
    this.#ufs = parts.ufs;
    this.#blockSizeBytes = parts.blockSizeBytes;
    this.#onEvent = parts.onEvent;
  }

  /** Loads what of a path is in the under store and not in the namespace, from the top down. */
  ensureLoaded(path: Path, load: LoadMetadata): Promise<void> | void {
    if (load === "never" || this.#askable(path, false) === null) return;
    return this.#joined(`path ${path}`, () => this.#loadPath(path, false));
  }

  /**
   * As `ensureLoaded`, for somebody who is about to make the path: a directory whose children were
   * listed once is taken at its word, which saves a call for every file made.
   */
  ensureLoadedForWrite(path: Path): Promise<void> | void {
    if (this.#askable(path, true) === null) return;
    return this.#joined(`write ${path}`, () => this.#loadPath(path, true));
  }

  /** Loads the direct children of a directory; "once" only when that was never done. */
  ensureListed(directoryId: InodeId, load: LoadMetadata): Promise<void> | void {
    if (load === "never") return;
    const directory = this.#state.view.inode(directoryId);
    if (directory?.kind !== "directory" || !directory.isInUfs) return;
    if (directory.isListed && load !== "always") return;
    return this.#joined(`list ${directoryId}`, () => this.#loadChildren(directoryId));
  }

  #joined(key: string, work: () => Promise<void>): Promise<void> {
    const running = this.#running.get(key);
    if (running !== undefined) return running;
    const started = work().finally(() => this.#running.delete(key));
    this.#running.set(key, started);
    return started;
  }

  /** The deepest directory on the way to a path, when its under store may know what comes next. */
  #askable(
    path: Path,
    trustsListing: boolean,
  ): { readonly directory: DirectoryInode; readonly child: Path } | null {
    const walk = this.#state.view.walk(path);
    const [name] = walk.missing;
    const directory = lastOf(walk);
    if (name === undefined || directory.kind !== "directory" || !directory.isInUfs) return null;
    if (trustsListing && directory.isListed) return null;
    if (name.startsWith(TEMPORARY_PREFIX)) return null;
    const depth = walk.names.length - walk.missing.length;
    const parent = `/${namesOf(path).slice(0, depth).join("/")}` as Path; // a prefix of a checked path
    return { directory, child: childOf(parent, name) };
  }

  async #loadPath(path: Path, trustsListing: boolean): Promise<void> {
    let attempts = 0;
    while (attempts < ATTEMPTS_MAX) {
      const ufsPath = this.#state.view.mounts().resolve(path).ufsPath;
      await this.#intents.whenClear([ufsPath]);
      const next = this.#askable(path, trustsListing);
      if (next === null) return;
      const { mount, ufsPath: childUfsPath } = this.#state.view.mounts().resolve(next.child);
      const status = await this.#ufs(mount.ufsUri).status(pathWithinStore(childUfsPath));
      if (status === null) return;
      // By the name that was asked for: a store that knows no case may tell another.
      const fact = this.#factOf({ ...status, name: nameOf(next.child) });
      if (fact === null) return;
      const holds = this.#state.view.pathOf(next.directory.id) === parentOf(next.child);
      if (!holds || !(await this.#propose(next.directory, [fact], false))) attempts += 1;
    }
    throw this.#busy(path);
  }

  async #loadChildren(directoryId: InodeId): Promise<void> {
    for (let attempts = 0; attempts < ATTEMPTS_MAX; attempts++) {
      const path = this.#state.view.pathOf(directoryId);
      if (path === null) return;
      const { mount, ufsPath } = this.#state.view.mounts().resolve(path);
      await this.#intents.whenClear([ufsPath]);
      const directory = this.#state.view.inode(directoryId);
      if (directory?.kind !== "directory" || this.#state.view.pathOf(directoryId) !== path)
        continue;
      const children = await this.#ufs(mount.ufsUri).list(pathWithinStore(ufsPath));
      // Moved meanwhile, with or without a directory above it: what lies there now is not what it has.
      if (this.#state.view.pathOf(directoryId) !== path) continue;
      if (await this.#proposeChildren(directory, ufsPath, children ?? [])) return;
    }
    throw this.#busy(this.#state.view.pathOf(directoryId) ?? `inode ${directoryId}`);
  }

  async #proposeChildren(
    directory: DirectoryInode,
    ufsPath: string,
    children: readonly UfsStatus[],
  ): Promise<boolean> {
    const facts: UfsFact[] = [];
    for (const child of children) {
      const fact = this.#factOf(child);
      if (fact === null)
        this.#onEvent({ kind: "ufsNameSkipped", ufsPath, name: child.name.slice(0, LINE_MAX) });
      else if (!this.#isKnown(directory.id, fact)) facts.push(fact);
    }
    if (facts.length === 0 && directory.isListed) return true;
    const batches: Promise<boolean>[] = [];
    for (let at = 0; at === 0 || at < facts.length; at += FACTS_MAX) {
      const isListed = at + FACTS_MAX >= facts.length;
      batches.push(this.#propose(directory, facts.slice(at, at + FACTS_MAX), isListed));
    }
    return (await Promise.all(batches)).every((isApplied) => isApplied);
  }

  #isKnown(directoryId: InodeId, fact: UfsFact): boolean {
    const known = this.#state.view.child(directoryId, fact.name);
    return known !== null && (known.isInUfs || !fact.isDirectory);
  }

  async #propose(
    { id: directoryId, childVersion }: DirectoryInode,
    facts: readonly UfsFact[],
    isListed: boolean,
  ): Promise<boolean> {
    const { value } = await this.#proposer.propose(SYSTEM, {
      kind: "loadedFromUfs",
      directoryId,
      childVersion,
      facts,
      blockSizeBytes: this.#blockSizeBytes,
      isListed,
    });
    return value.kind === "loaded" && value.isApplied;
  }

  /** Null for what no path can name, or no file can be. */
  #factOf(status: UfsStatus): UfsFact | null {
    const { name, isDirectory, owner, group, fingerprint } = status;
    const lengthBytes = isDirectory ? 0 : status.lengthBytes;
    if (!isUsableName(name) || lengthBytes > this.#blockSizeBytes * FILE_BLOCKS_MAX) return null;
    return {
      name,
      isDirectory,
      lengthBytes,
      lastModifiedMs: Math.max(0, Math.trunc(status.lastModifiedMs)),
      owner: owner.slice(0, LINE_MAX),
      group: group.slice(0, LINE_MAX),
      mode: status.mode & 0o777,
      fingerprint: fingerprint.slice(0, LINE_MAX),
    };
  }

  #busy(path: string): RockpoolError {
    return new RockpoolError(
      "UNAVAILABLE",
      `Path "${path}" changes too fast to be loaded from its under store`,
      "Try again",
    );
  }
}
