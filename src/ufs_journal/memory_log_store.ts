/**
 * A shared store in memory, for tests and simulations: as promised, and as unreliable as stores are otherwise.
 *
 * - A call may take time, fail before or after its effect, or have its effect long after its caller was told that nothing is known.
 * - A listing may lack what was just made, and show what was just removed.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import type { JournalFileSystem } from "../journal/file_system.ts";
import type { LogStore } from "../ufs/log_store.ts";
import type { World } from "../world/ports.ts";

export type StoreCall = {
  readonly kind: "create" | "read" | "list" | "remove";
  readonly name: string;
};

/** What becomes of one call. */
export type StoreFate = {
  readonly delayMs?: number;
  /** `before`: it has no effect; `after`: its answer is lost; `late`: it has its effect `lateMs` after its failure. */
  readonly failure?: "before" | "after" | "late" | "full";
  readonly lateMs?: number;
  /** Names that a listing lacks. */
  readonly hides?: (name: string) => boolean;
};

/** What all masters share. */
export class SharedObjects {
  readonly objects = new Map<string, Uint8Array>();
  /** Each change that took effect, for checkers. */
  onCreated: (name: string, bytes: Uint8Array) => void = () => {};
  onRemoved: (name: string, bytes: Uint8Array) => void = () => {};

  create(name: string, bytes: Uint8Array): "created" | "exists" {
    if (this.objects.has(name)) return "exists";
    this.objects.set(name, bytes);
    this.onCreated(name, bytes);
    return "created";
  }

  remove(name: string): void {
    const bytes = this.objects.get(name);
    if (bytes === undefined) return;
    this.objects.delete(name);
    this.onRemoved(name, bytes);
  }
}

export type MemoryLogStoreOptions = {
  readonly shared: SharedObjects;
  readonly world: World;
  /** For what lies in local files. */
  readonly files: Pick<JournalFileSystem, "readFileSync" | "replaceFileSync">;
  readonly fate?: (call: StoreCall) => StoreFate;
  /** A master that crashed calls no more, and hears nothing. */
  readonly isAlive?: () => boolean;
};

export class MemoryLogStore implements LogStore {
  readonly uri = "memory:/journal";
  readonly #options: MemoryLogStoreOptions;

  constructor(options: MemoryLogStoreOptions) {
    this.#options = options;
  }

  create(name: string, bytes: Uint8Array): Promise<"created" | "exists"> {
    const copy = bytes.slice();
    return this.#call({ kind: "create", name }, () => this.#options.shared.create(name, copy));
  }

  createFromFile(name: string, localPath: string): Promise<"created" | "exists"> {
    const bytes = this.#options.files.readFileSync(localPath) ?? new Uint8Array();
    return this.create(name, bytes);
  }

  read(name: string): Promise<Uint8Array | null> {
    const act = () => this.#options.shared.objects.get(name)?.slice() ?? null;
    return this.#call({ kind: "read", name }, act);
  }

  async readToFile(name: string, localPath: string): Promise<boolean> {
    const bytes = await this.read(name);
    if (bytes !== null) this.#options.files.replaceFileSync(localPath, bytes);
    return bytes !== null;
  }

  list(folder: string, after = ""): Promise<readonly string[]> {
    const prefix = `${folder}/`;
    return this.#call({ kind: "list", name: folder }, ({ hides = () => false }) =>
      [...this.#options.shared.objects.keys()]
        .filter((name) => name.startsWith(prefix) && !hides(name))
        .map((name) => name.slice(prefix.length))
        .filter((name) => !name.includes("/") && name > after)
        .sort(),
    );
  }

  async remove(name: string): Promise<void> {
    await this.#call({ kind: "remove", name }, () => this.#options.shared.remove(name));
  }

  async probe(): Promise<void> {}

  #call<T>(call: StoreCall, act: (fate: StoreFate) => T): Promise<T> {
    const { world, isAlive = () => true } = this.#options;
    const fate: StoreFate = this.#options.fate?.(call) ?? {};
    const { delayMs = 0, failure, lateMs = 0 } = fate;
    return new Promise((resolve, reject) => {
      const answer = () => {
        if (failure === "before" || failure === "late") {
          if (failure === "late") world.timers.after(lateMs, () => act(fate));
          if (isAlive()) reject(unknown(call));
          return;
        }
        if (failure === "full") {
          if (isAlive()) reject(new RockpoolError("RESOURCE_EXHAUSTED", `${call.name}: full`));
          return;
        }
        // What is on its way when its master dies arrives.
        const result = act(fate);
        if (!isAlive()) return;
        if (failure === "after") reject(unknown(call));
        else resolve(result);
      };
      if (delayMs === 0) world.timers.soon(answer);
      else world.timers.after(delayMs, answer);
    });
  }
}

function unknown({ kind, name }: StoreCall): RockpoolError {
  return new RockpoolError("UNAVAILABLE", `No answer to ${kind} ${name}`, "It is tried again");
}
