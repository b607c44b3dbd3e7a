/**
 * The configuration of a running process: what it was started with, and what was changed since.
 *
 * Pure. Every change makes a new frozen {@link Configuration}, so whoever holds one sees it whole; who wants changes to
 * take effect asks for `current` each time. A change that cannot be is refused by name, and the others of the same
 * request take effect, as with Alluxio.
 * @module
 */
import { messageOf } from "../common/errors.ts";
import { CommonKeys } from "./common_keys.ts";
import { type Assignment, type Configuration, withRuntime } from "./configuration.ts";
import { isDynamic } from "./dynamic_keys.ts";
import type { KeySpec } from "./key_spec.ts";
import { isKnownName, keyOf } from "./keys.ts";

/** Names that a process holds beyond those of the tables: a caller must not fill our memory. */
const CHANGES_MAX = 1000;
const ORIGIN = "updateConf";

/** Why a change was not made; null: it was. */
export type ChangeRefusal = string | null;

export class LiveConfiguration {
  #current: Configuration;
  readonly #started: Configuration;
  readonly #changes = new Map<string, Assignment>();
  readonly #listeners: ((changed: ReadonlySet<string>) => void)[] = [];

  constructor(started: Configuration) {
    this.#started = started;
    this.#current = started;
  }

  get current(): Configuration {
    return this.#current;
  }

  get<T>(spec: KeySpec<T>): T {
    return this.#current.get(spec);
  }

  /** Called after every change with the keys that may be others now. */
  onChange(listener: (changed: ReadonlySet<string>) => void): void {
    this.#listeners.push(listener);
  }

  /** @returns for each name as it was given, why its value was not taken; null when it was */
  update(properties: ReadonlyMap<string, string>): ReadonlyMap<string, ChangeRefusal> {
    const outcome = new Map<string, ChangeRefusal>();
    const changed = new Set<string>();
    for (const [name, value] of properties) {
      const refusal = this.#change(name, value);
      outcome.set(name, refusal);
      if (refusal === null) changed.add(keyOf(name)?.key ?? name);
    }
    if (changed.size > 0) for (const listener of this.#listeners) listener(changed);
    return outcome;
  }

  #change(name: string, value: string): ChangeRefusal {
    if (!this.#started.get(CommonKeys.dynamicUpdateEnabled))
      return `${CommonKeys.dynamicUpdateEnabled.key} is false`;
    if (!isKnownName(name)) return "nobody knows this property";
    if (!isDynamic(name)) return "it is read at the start only: change the site file and restart";
    const key = keyOf(name)?.key ?? name;
    if (!this.#changes.has(key) && this.#changes.size >= CHANGES_MAX)
      return `${CHANGES_MAX} properties were changed already`;
    const before = this.#changes.get(key);
    this.#changes.set(key, { name: key, value, origin: ORIGIN });
    try {
      this.#current = withRuntime(this.#started, [...this.#changes.values()]);
      return null;
    } catch (error) {
      if (before === undefined) this.#changes.delete(key);
      else this.#changes.set(key, before);
      return messageOf(error);
    }
  }
}
