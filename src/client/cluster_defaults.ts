/**
 * What the masters give their clients as defaults: of the cluster, and stronger ones below paths.
 *
 * Fetched with the first call that needs one and again when they are old. A value that cannot be read here counts as absent: a
 * newer master must not stop its clients.
 * @module
 */
import { isRockpoolError } from "../common/errors.ts";
import { parseDurationMs, parseSizeBytes } from "../common/units.ts";
import { cancelled, throwIfAborted } from "./context.ts";
import type { TtlAction } from "./file_status.ts";
import { READ_TYPES, type ReadType, WRITE_TYPES, type WriteType } from "./file_status.ts";
import type { MasterClient, Signal } from "./master_client.ts";

/** `alluxio.user.conf.sync.interval`. */
const AGE_MAX_MS = 60_000;

export type Properties = ReadonlyMap<string, string>;

export type MasterDefaults = {
  readonly cluster: Properties;
  readonly byPath: ReadonlyMap<string, Properties>;
};

const NONE: MasterDefaults = { cluster: new Map(), byPath: new Map() };

function isWithin(ancestor: string, path: string): boolean {
  return ancestor === "/" || path === ancestor || path.startsWith(`${ancestor}/`);
}

/** What holds at a path: of the innermost path that says something of a property, then of the cluster. */
export function propertiesAt({ cluster, byPath }: MasterDefaults, path: string): Properties {
  const outermostFirst = [...byPath]
    .filter(([ancestor]) => isWithin(ancestor, path))
    .sort(([one], [other]) => one.length - other.length);
  return new Map([...cluster, ...outermostFirst.flatMap(([, properties]) => [...properties])]);
}

/** What of a client's behaviour the masters may set. What is absent is left to the client. */
export type DefaultsAtPath = {
  readonly writeType?: WriteType;
  readonly readType?: ReadType;
  readonly blockSizeBytes?: number;
  readonly umask?: number;
  readonly replicationMin?: number;
  readonly replicationMax?: number;
  readonly ttlMs?: number;
  readonly ttlAction?: TtlAction;
};

const integerOf = (text: string) => (/^-?\d{1,9}$/.test(text) ? Number(text) : null);
const umaskOf = (text: string) => (/^[0-7]{1,4}$/.test(text) ? Number.parseInt(text, 8) : null);
const sizeOf = (text: string) => {
  const size = parseSizeBytes(text);
  return size !== null && size > 0 && Number.isSafeInteger(size) ? size : null;
};

/** Typed values of properties that clients know. */
export function typedDefaults(properties: Properties): DefaultsAtPath {
  const read = <T>(key: string, parse: (text: string) => T | null | undefined): T | undefined => {
    const text = properties.get(key)?.trim();
    return text === undefined ? undefined : (parse(text) ?? undefined);
  };
  const found = {
    writeType: read("alluxio.user.file.writetype.default", (text) =>
      WRITE_TYPES.find((type) => type === text.toUpperCase()),
    ),
    readType: read("alluxio.user.file.readtype.default", (text) =>
      READ_TYPES.find((type) => type === text.toUpperCase()),
    ),
    blockSizeBytes: read("alluxio.user.block.size.bytes.default", sizeOf),
    umask: read("alluxio.security.authorization.permission.umask", umaskOf),
    replicationMin: read("alluxio.user.file.replication.min", integerOf),
    replicationMax: read("alluxio.user.file.replication.max", integerOf),
    ttlMs: read("alluxio.user.file.create.ttl", parseDurationMs),
    ttlAction: read("alluxio.user.file.create.ttl.action", (text) =>
      (["FREE", "DELETE"] as const).find((action) => action === text.toUpperCase()),
    ),
  };
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined));
}

/** Settles as `work` does, or with CANCELLED when the signal fires first. `work` itself goes on. */
async function untilAborted<T>(work: Promise<T>, signal: Signal): Promise<T> {
  if (signal === null) return work;
  let stop = () => {};
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(cancelled(signal));
    signal.addEventListener("abort", stop);
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

export class ClusterDefaults {
  readonly #master: MasterClient;
  #pending: Promise<MasterDefaults> | null = null;
  #readAtMs = Number.NEGATIVE_INFINITY;

  constructor(master: MasterClient) {
    this.#master = master;
  }

  /** @throws RockpoolError when no master answers */
  async properties(path: string, signal: Signal): Promise<Properties> {
    throwIfAborted(signal);
    return propertiesAt(await untilAborted(this.#current(), signal), path);
  }

  async at(path: string, signal: Signal): Promise<DefaultsAtPath> {
    return typedDefaults(await this.properties(path, signal));
  }

  /** One question for all who ask at once; it belongs to none of their signals. */
  #current(): Promise<MasterDefaults> {
    const nowMs = performance.now();
    if (this.#pending !== null && nowMs - this.#readAtMs < AGE_MAX_MS) return this.#pending;
    this.#readAtMs = nowMs;
    this.#pending = this.#read();
    // The next call asks again; this one is told by its own await.
    this.#pending.catch(() => {
      this.#readAtMs = Number.NEGATIVE_INFINITY;
    });
    return this.#pending;
  }

  async #read(): Promise<MasterDefaults> {
    try {
      return await this.#master.defaults(null);
    } catch (error) {
      if (isRockpoolError(error, "UNIMPLEMENTED")) return NONE;
      throw error;
    }
  }
}
