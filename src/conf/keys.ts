/**
 * The one table of all keys, and what is known of names that are in no table.
 * @module
 */
import { ACCEPTED_NAMES, isAcceptedName } from "./accepted_names.ts";
import { CommonKeys } from "./common_keys.ts";
import { EdgeKeys } from "./edge_keys.ts";
import type { KeySpec } from "./key_spec.ts";
import { MasterKeys } from "./master_keys.ts";
import { UfsKeys } from "./ufs_keys.ts";
import { UserKeys } from "./user_keys.ts";
import { TIER_KEYS, WorkerKeys } from "./worker_keys.ts";
import { ZooKeeperKeys } from "./zookeeper_keys.ts";

export const ALL_KEYS: readonly KeySpec<unknown>[] = [
  ...Object.values(CommonKeys),
  ...Object.values(MasterKeys),
  ...Object.values(WorkerKeys),
  ...TIER_KEYS.flatMap((tier) => Object.values(tier)),
  ...Object.values(UserKeys),
  ...Object.values(UfsKeys),
  ...Object.values(EdgeKeys),
  ...Object.values(ZooKeeperKeys),
];

const BY_NAME = new Map<string, KeySpec<unknown>>();
for (const spec of ALL_KEYS) for (const alias of spec.aliases) BY_NAME.set(alias, spec);
for (const spec of ALL_KEYS) BY_NAME.set(spec.key, spec);

/** The key of a name or of one of its aliases. */
export function keyOf(name: string): KeySpec<unknown> | undefined {
  return BY_NAME.get(name);
}

/** The default of any name, ours first; references not replaced. Null: it has none. */
export function defaultTextOf(name: string): string | null {
  const spec = keyOf(name);
  return spec === undefined ? (ACCEPTED_NAMES.get(name) ?? null) : spec.defaultText;
}

export function isKnownName(name: string): boolean {
  return BY_NAME.has(name) || isAcceptedName(name);
}

/** Names that somebody may mean to write: keys, aliases, and all of Alluxio's. */
export function knownNames(): readonly string[] {
  return [...new Set([...BY_NAME.keys(), ...ACCEPTED_NAMES.keys()])];
}

const SECRET =
  /secret|passw(?:or)?d|passphrase|credential|(?:access|api|private)[._-]?key|(?<![a-z])token(?![a-z])|(?:access|auth|api|id|session)token/i;

/** Whether the value of a name is never shown. Boolean switches and paths about credentials are no secrets. */
export function isSecretName(name: string): boolean {
  return SECRET.test(name) && !/\.(enabled|credential|path|endpoint)$/.test(name);
}

/** Least number of letters to insert, drop, change or swap; `limit` when it is not below. */
export function editDistance(from: string, to: string, limit: number): number {
  if (Math.abs(from.length - to.length) >= limit) return limit;
  let before: number[] = [];
  let previous = Array.from({ length: to.length + 1 }, (_, at) => at);
  for (let row = 1; row <= from.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= to.length; column += 1) {
      const isSame = from[row - 1] === to[column - 1];
      let cost = Math.min(
        (previous[column] ?? limit) + 1,
        (current[column - 1] ?? limit) + 1,
        (previous[column - 1] ?? limit) + (isSame ? 0 : 1),
      );
      const isSwap = from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1];
      if (isSwap && row > 1 && column > 1) cost = Math.min(cost, (before[column - 2] ?? limit) + 1);
      current.push(cost);
    }
    before = previous;
    previous = current;
  }
  return Math.min(previous[to.length] ?? limit, limit);
}

/** The known name that is most like this one; null when none is near. */
export function nearestName(name: string): string | null {
  let nearest: string | null = null;
  let limit = Math.max(3, Math.ceil(name.length / 4));
  for (const candidate of knownNames()) {
    const distance = editDistance(name, candidate, limit);
    if (distance < limit) {
      nearest = candidate;
      limit = distance;
    }
  }
  return nearest;
}
