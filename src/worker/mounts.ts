/**
 * Which under store a request means, and whether it may: clients name a mount and a path, and only paths below the
 * mount's root are theirs to read and write.
 *
 * The masters know the mounts; what they said is kept for a while, and asked again when a path does not fit it.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import type { UnderFileSystem } from "../ufs/under_file_system.ts";
import type { Clock } from "../world/ports.ts";
import type { LeaderPort, MountedUfs, MountFacts } from "./worker_api.ts";

/** Alluxio's workers keep a mount's facts for ever; a changed credential should not need a restart. */
const FACTS_TTL_MS = 60_000;
/** A new mount of an old id cannot happen; this only bounds memory. */
const MOUNTS_MAX = 1024;

export type UfsLocation = { readonly ufs: UnderFileSystem; readonly path: string };

type Mount = {
  readonly facts: MountFacts;
  readonly ufs: UnderFileSystem;
  readonly askedMs: number;
};

/** "scheme://authority/path" in one spelling; a bare path is one of the local store. */
function canonical(uri: string): { readonly root: string; readonly names: readonly string[] } {
  const match = /^([a-zA-Z][a-zA-Z0-9+.-]*):(?:\/\/([^/]*))?(.*)$/.exec(uri);
  const scheme = match?.[1]?.toLowerCase() ?? "file";
  const path = match === null ? uri : (match[3] ?? "");
  return {
    root: `${scheme}://${match?.[2] ?? ""}`,
    names: path.split("/").filter((name) => name !== ""),
  };
}

/** True when `uri` is below `rootUri`, component by component, and has no way out of it. */
export function isBelow(rootUri: string, uri: string): boolean {
  const root = canonical(rootUri);
  const { names, root: ownRoot } = canonical(uri);
  if (ownRoot !== root.root || uri.includes("\0")) return false;
  if (names.includes("..") || names.includes(".")) return false;
  return names.length > root.names.length && root.names.every((name, at) => names[at] === name);
}

export class Mounts {
  readonly #leader: LeaderPort;
  readonly #registry: MountedUfs;
  readonly #clock: Clock;
  readonly #mounts = new Map<bigint, Mount>();

  constructor(leader: LeaderPort, registry: MountedUfs, clock: Clock) {
    this.#leader = leader;
    this.#registry = registry;
    this.#clock = clock;
  }

  /** @throws RockpoolError PERMISSION_DENIED when the path is not below the mount's root, or the mount is read-only */
  async locate(
    mountId: bigint | undefined,
    ufsPath: string | undefined,
    intent: "read" | "write",
  ): Promise<UfsLocation> {
    if (mountId === undefined || ufsPath === undefined || ufsPath === "")
      throw new RockpoolError(
        "INVALID_ARGUMENT",
        "A request for the under store names no mount or no path",
        "Use a client of version 2.9",
      );
    const known = this.#mounts.get(mountId);
    const nowMs = this.#clock.monotonicMs();
    const isFresh = known !== undefined && nowMs - known.askedMs < FACTS_TTL_MS;
    const mount =
      isFresh && isBelow(known.facts.ufsUri, ufsPath) ? known : await this.#ask(mountId);
    const { ufsUri, isReadOnly } = mount.facts;
    if (!isBelow(ufsUri, ufsPath))
      throw new RockpoolError(
        "PERMISSION_DENIED",
        `Path ${ufsPath} is not below the root ${ufsUri} of mount ${mountId}`,
        "Use the path that the master gave for the file",
      );
    if (intent === "write" && isReadOnly)
      throw new RockpoolError(
        "PERMISSION_DENIED",
        `Cannot write ${ufsPath}: mount ${mountId} is read-only`,
        "Mount the under store without --readonly, or write elsewhere",
      );
    return { ufs: mount.ufs, path: `/${canonical(ufsPath).names.join("/")}` };
  }

  async #ask(mountId: bigint): Promise<Mount> {
    const facts = await this.#leader.mountOf(mountId);
    const ufs = this.#registry(facts.ufsUri, facts.properties);
    const mount: Mount = { facts, ufs, askedMs: this.#clock.monotonicMs() };
    this.#mounts.delete(mountId);
    this.#mounts.set(mountId, mount);
    for (const oldest of this.#mounts.keys()) {
      if (this.#mounts.size <= MOUNTS_MAX) break;
      this.#mounts.delete(oldest);
    }
    return mount;
  }
}
