/**
 * ZooKeeper's operations over one session. Paths are below the chroot of the connect string.
 *
 * Every operation may fail with a `ZooKeeperError`: its `code` is ZooKeeper's name, its status what callers of any part
 * test. CONNECTIONLOSS leaves open whether it was carried out: look before you ask again.
 * Of its own kind because the packages that there are either never notice a stopped server or have no Linux binary
 * (docs/ARCHITECTURE.md, Dependencies).
 * @module
 */
import type { World } from "../world/ports.ts";
import { parseConnectString, requirePath } from "./connect_string.ts";
import type { JuteReader, JuteWriter } from "./jute.ts";
import {
  type CreateMode,
  isZooKeeperError,
  OP,
  readMulti,
  readStat,
  type Stat,
  type Step,
  type StepResult,
  writeCreate,
  writeMulti,
} from "./protocol.ts";
import { type Credentials, Session, type SessionState } from "./session.ts";
import type { Watcher, WatchList } from "./watches.ts";

export type ZooKeeperOptions = {
  /** "host1:2181,host2:2181/chroot" */
  readonly connect: string;
  readonly sessionTimeoutMs: number;
  readonly world: World;
  /** "user:password" of the digest scheme each. */
  readonly digests?: readonly string[];
  /** @param reason the server's address when connected, else why */
  readonly onState?: (state: SessionState, reason: string) => void;
};

export type Data = { readonly data: Uint8Array; readonly stat: Stat };
export type Children = { readonly names: readonly string[]; readonly stat: Stat };

export const ANY_VERSION = -1;
/** ZooKeeper's number. */
const NO_NODE = -101;

/** What is asked about a node, and which watch that leaves: on one that is there, and on one that is not. */
type Question = {
  readonly type: number;
  readonly what: string;
  readonly list: WatchList;
  readonly ifAbsent?: WatchList;
};

export class ZooKeeper {
  readonly #session: Session;
  readonly #chroot: string;

  /** Begins to connect; operations wait for the connection. @throws RockpoolError INVALID_ARGUMENT for a bad connect string */
  constructor({ connect, sessionTimeoutMs, world, digests = [], onState }: ZooKeeperOptions) {
    const { servers, chroot } = parseConnectString(connect);
    this.#chroot = chroot;
    this.#session = new Session({
      servers,
      timeoutMs: sessionTimeoutMs,
      world,
      credentials: digests.map((id): Credentials => ({ scheme: "digest", id })),
      onState: onState ?? (() => {}),
      local: (path) => this.#local(path),
      full: (path) => this.#full(path),
    });
    this.#session.start();
  }

  get state(): SessionState {
    return this.#session.state;
  }

  get sessionId(): bigint {
    return this.#session.id;
  }

  /** As the servers granted it. */
  get sessionTimeoutMs(): number {
    return this.#session.timeoutMs;
  }

  /** Whether the session cannot end within the next `marginMs`: ask right before whatever hangs on its ephemeral nodes. */
  isAliveFor(marginMs: number): boolean {
    return this.#session.isAliveFor(marginMs);
  }

  /** @returns the path, with its number when it is sequential */
  async create(path: string, data: Uint8Array, mode: CreateMode = {}): Promise<string> {
    requirePath(mode.isSequential === true ? `${path}0` : path);
    const reader = await this.#ask(OP.create, `create ${path}`, (writer) =>
      writeCreate(writer, this.#full(path), data, mode),
    );
    return this.#local(reader.text());
  }

  /** As create, and tells the new node's stat. */
  async create2(
    path: string,
    data: Uint8Array,
    mode: CreateMode = {},
  ): Promise<{ readonly path: string; readonly stat: Stat }> {
    requirePath(mode.isSequential === true ? `${path}0` : path);
    const reader = await this.#ask(OP.create2, `create ${path}`, (writer) =>
      writeCreate(writer, this.#full(path), data, mode),
    );
    return { path: this.#local(reader.text()), stat: readStat(reader) };
  }

  /** Makes the node and those above it that are not there, all of them empty and lasting. */
  async ensurePath(path: string): Promise<void> {
    const names = path.split("/").filter((name) => name !== "");
    for (let depth = 1; depth <= names.length; depth++)
      try {
        await this.create(`/${names.slice(0, depth).join("/")}`, new Uint8Array());
      } catch (error) {
        if (!isZooKeeperError(error, "NODEEXISTS")) throw error;
      }
  }

  async delete(path: string, version = ANY_VERSION): Promise<void> {
    requirePath(path);
    await this.#ask(OP.delete, `delete ${path}`, (writer) => {
      writer.text(this.#full(path));
      writer.int(version);
    });
  }

  /** @param watcher is told when the node comes, changes or goes @returns null when it is not there */
  async exists(path: string, watcher?: Watcher): Promise<Stat | null> {
    requirePath(path);
    try {
      const asked = { type: OP.exists, what: "exists", list: "data", ifAbsent: "exists" } as const;
      return readStat(await this.#askAbout(asked, path, watcher));
    } catch (error) {
      if (!isZooKeeperError(error, "NONODE")) throw error;
      return null;
    }
  }

  /** @param watcher is told when the data changes or the node goes */
  async getData(path: string, watcher?: Watcher): Promise<Data> {
    requirePath(path);
    const asked = { type: OP.getData, what: "getData", list: "data" } as const;
    const reader = await this.#askAbout(asked, path, watcher);
    return { data: reader.buffer(), stat: readStat(reader) };
  }

  /** @param version what it must have been changed to; -1 for any @throws BADVERSION */
  async setData(path: string, data: Uint8Array, version = ANY_VERSION): Promise<Stat> {
    requirePath(path);
    const reader = await this.#ask(OP.setData, `setData ${path}`, (writer) => {
      writer.text(this.#full(path));
      writer.buffer(data);
      writer.int(version);
    });
    return readStat(reader);
  }

  /** Names in no order. @param watcher is told when a child comes or goes, or the node goes */
  async getChildren(path: string, watcher?: Watcher): Promise<Children> {
    requirePath(path);
    const asked = { type: OP.getChildren2, what: "getChildren", list: "children" } as const;
    const reader = await this.#askAbout(asked, path, watcher);
    return { names: reader.texts(), stat: readStat(reader) };
  }

  /** Carries out all steps in one transaction, or none. @throws ZooKeeperError of the first step that failed */
  async multi(steps: readonly Step[]): Promise<readonly StepResult[]> {
    for (const step of steps)
      requirePath(
        step.kind === "create" && step.isSequential === true ? `${step.path}0` : step.path,
      );
    const reader = await this.#ask(OP.multi, `multi of ${steps.length}`, (writer) =>
      writeMulti(writer, steps, (path) => this.#full(path)),
    );
    return readMulti(reader, steps, (path) => this.#local(path));
  }

  /** Waits until our server knows all that was carried out before: what is read next is not older. */
  async sync(path: string): Promise<void> {
    requirePath(path);
    await this.#ask(OP.sync, `sync ${path}`, (writer) => writer.text(this.#full(path)));
  }

  /** Ends the session; its ephemeral nodes go at once if a server can be reached. */
  close(): Promise<void> {
    return this.#session.close();
  }

  /** The watcher is in its place before what came behind the answer is looked at: that may be the very change that it waits for. */
  #askAbout(
    { type, what, list, ifAbsent }: Question,
    path: string,
    watcher?: Watcher,
  ): Promise<JuteReader> {
    const leave = (error: number) => {
      const kind = error === 0 ? list : error === NO_NODE ? ifAbsent : undefined;
      if (watcher !== undefined && kind !== undefined)
        this.#session.watches.add(kind, path, watcher);
    };
    const write = (writer: JuteWriter) => {
      writer.text(this.#full(path));
      writer.bool(watcher !== undefined);
    };
    return this.#ask(type, `${what} ${path}`, write, leave);
  }

  #ask(...request: Parameters<Session["request"]>): Promise<JuteReader> {
    return this.#session.request(...request);
  }

  #full(path: string): string {
    if (this.#chroot === "") return path;
    return path === "/" ? this.#chroot : `${this.#chroot}${path}`;
  }

  #local(path: string): string {
    if (this.#chroot === "" || !path.startsWith(this.#chroot)) return path;
    return path.length === this.#chroot.length ? "/" : path.slice(this.#chroot.length);
  }
}
