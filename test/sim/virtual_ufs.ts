/**
 * The under store that all simulated masters share: directories and empty files in memory, each call in its time. It may
 * be away for a while; what it has done it has done for good.
 * @module
 */
import { RockpoolError } from "../../src/common/errors.ts";
import type {
  UfsCreateOptions,
  UfsReader,
  UfsStatus,
  UfsWriter,
  UnderFileSystem,
} from "../../src/ufs/under_file_system.ts";
import type { SimRandom } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";

type Entry = { readonly isDirectory: boolean; readonly version: number };

export class VirtualUfs implements UnderFileSystem {
  readonly type = "virtual";
  readonly entries = new Map<string, Entry>([["/", { isDirectory: true, version: 0 }]]);
  readonly #scheduler: Scheduler;
  readonly #random: SimRandom;
  #version = 0;
  isAway = false;
  onFault: (kind: string) => void = () => {};

  constructor(scheduler: Scheduler, random: SimRandom) {
    this.#scheduler = scheduler;
    this.#random = random;
  }

  /** On behalf of whoever runs at this moment; a process that dies meanwhile may have been heard all the same. */
  #call<T>(label: string, act: () => T): Promise<T> {
    const lane = this.#scheduler.current;
    return new Promise((resolve, reject) => {
      this.#scheduler.after(this.#random.skewed(0.2, 8), null, label, () => {
        let outcome: { readonly value: T } | { readonly error: unknown };
        try {
          if (this.isAway) {
            this.onFault("ufsAway");
            throw new RockpoolError("UNAVAILABLE", "The under store is away", "Try again");
          }
          outcome = { value: act() };
        } catch (error) {
          outcome = { error };
        }
        this.#scheduler.after(this.#random.skewed(0.2, 8), lane, label, () =>
          "value" in outcome ? resolve(outcome.value) : reject(outcome.error),
        );
      });
    });
  }

  #statusOf(path: string, { isDirectory, version }: Entry): UfsStatus {
    return {
      name: path.slice(path.lastIndexOf("/") + 1),
      isDirectory,
      lengthBytes: 0,
      lastModifiedMs: version,
      owner: "root",
      group: "root",
      mode: 0o755,
      fingerprint: `v${version}`,
    };
  }

  #put(path: string, isDirectory: boolean): UfsStatus {
    const names = path.split("/").slice(1, -1);
    for (let at = 1; at <= names.length; at++) {
      const parent = `/${names.slice(0, at).join("/")}`;
      const known = this.entries.get(parent);
      if (known?.isDirectory === false)
        throw new RockpoolError("FAILED_PRECONDITION", `${parent} is a file`, "");
      if (known === undefined)
        this.entries.set(parent, { isDirectory: true, version: this.#tick() });
    }
    const entry = { isDirectory, version: this.#tick() };
    this.entries.set(path, entry);
    return this.#statusOf(path, entry);
  }

  #tick(): number {
    this.#version += 1;
    return this.#version;
  }

  #below(path: string): string[] {
    return [...this.entries.keys()].filter((each) => each.startsWith(`${path}/`));
  }

  status(path: string): Promise<UfsStatus | null> {
    return this.#call("ufs.status", () => {
      const entry = this.entries.get(path);
      return entry === undefined ? null : this.#statusOf(path, entry);
    });
  }

  list(path: string): Promise<readonly UfsStatus[] | null> {
    return this.#call("ufs.list", () => {
      if (this.entries.get(path)?.isDirectory !== true) return null;
      const prefix = path === "/" ? "/" : `${path}/`;
      return [...this.entries]
        .filter(([each]) => each.startsWith(prefix) && each !== "/")
        .filter(([each]) => !each.slice(prefix.length).includes("/"))
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([each, entry]) => this.#statusOf(each, entry));
    });
  }

  createDirectory(path: string): Promise<void> {
    return this.#call("ufs.mkdir", () => {
      const known = this.entries.get(path);
      if (known?.isDirectory === false)
        throw new RockpoolError("ALREADY_EXISTS", `${path} is a file`, "");
      if (known === undefined) this.#put(path, true);
    });
  }

  create(path: string, _options: UfsCreateOptions): Promise<UfsWriter> {
    return this.#call("ufs.create", () => ({
      write: () => Promise.reject(new RockpoolError("UNIMPLEMENTED", "No bytes are kept", "")),
      commit: () => this.#call("ufs.commit", () => this.#put(path, false)),
      abort: () => Promise.resolve(),
    }));
  }

  open(path: string): Promise<UfsReader> {
    return Promise.reject(new RockpoolError("NOT_FOUND", `${path} has no bytes`, ""));
  }

  rename(from: string, to: string): Promise<void> {
    return this.#call("ufs.rename", () => {
      const entry = this.entries.get(from);
      if (entry === undefined) throw new RockpoolError("NOT_FOUND", `${from} is not there`, "");
      const target = this.entries.get(to);
      if (target !== undefined && (target.isDirectory || entry.isDirectory))
        throw new RockpoolError("ALREADY_EXISTS", `${to} is there`, "");
      this.#put(to, entry.isDirectory);
      for (const below of this.#below(from)) {
        this.entries.set(to + below.slice(from.length), this.entries.get(below) ?? entry);
        this.entries.delete(below);
      }
      this.entries.delete(from);
    });
  }

  remove(path: string, isRecursive: boolean): Promise<boolean> {
    return this.#call("ufs.remove", () => {
      if (!this.entries.has(path)) return false;
      const below = this.#below(path);
      if (below.length > 0 && !isRecursive)
        throw new RockpoolError("FAILED_PRECONDITION", `${path} is not empty`, "");
      for (const each of below) this.entries.delete(each);
      return this.entries.delete(path);
    });
  }

  setMode(): Promise<void> {
    return this.#call("ufs.setMode", () => {});
  }

  setOwner(): Promise<void> {
    return this.#call("ufs.setOwner", () => {});
  }

  space(): Promise<null> {
    return this.#call("ufs.space", () => null);
  }
}
