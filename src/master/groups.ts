/**
 * Who somebody is: the groups of a user, and whether they are the superuser.
 *
 * The operating system of the master is asked, by `id -Gn`, without a shell; only names that an account can
 * have are passed on. Answers are kept for a minute.
 * @module
 */
import { execFile } from "node:child_process";
import { userInfo } from "node:os";
import type { Clock } from "../world/ports.ts";
import type { Principal } from "./api.ts";

export interface GroupMapping {
  /** The primary group first; none for a user that the system does not know. */
  groupsOf(user: string): Promise<readonly string[]>;
}

const CACHE_MS = 60_000;
const CACHE_ENTRIES_MAX = 10_000;
const TIMEOUT_MS = 5000;
/** What useradd allows, plus dots and a domain; never a leading dash, which `id` would take for an option. */
const USER_NAME = /^[A-Za-z0-9_][A-Za-z0-9_.@\\-]{0,255}\$?$/;

function run(file: string, args: readonly string[]): Promise<string | null> {
  return new Promise((resolve) => {
    execFile(file, [...args], { timeout: TIMEOUT_MS, encoding: "utf8" }, (error, output) =>
      // An unknown user is no failure: most users of a cluster have no account on its masters.
      resolve(error === null ? output : null),
    );
  });
}

export class OsGroupMapping implements GroupMapping {
  readonly #clock: Clock;
  readonly #known = new Map<string, { readonly asked: number; groups: Promise<string[]> }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  groupsOf(user: string): Promise<readonly string[]> {
    if (!USER_NAME.test(user)) return Promise.resolve([]);
    const now = this.#clock.monotonicMs();
    const known = this.#known.get(user);
    if (known !== undefined && now - known.asked < CACHE_MS) return known.groups;
    const groups = this.#ask(user);
    this.#known.delete(user);
    this.#known.set(user, { asked: now, groups });
    const [oldest] = this.#known.keys();
    if (this.#known.size > CACHE_ENTRIES_MAX && oldest !== undefined) this.#known.delete(oldest);
    return groups;
  }

  async #ask(user: string): Promise<string[]> {
    const [primary, all] = await Promise.all([
      run("id", ["-gn", "--", user]),
      run("id", ["-Gn", "--", user]),
    ]);
    if (primary === null || all === null) return [];
    const first = primary.trim();
    return [
      first,
      ...all
        .trim()
        .split(/\s+/)
        .filter((group) => group !== first && group !== ""),
    ];
  }
}

export type PrincipalOptions = {
  /** `alluxio.security.authorization.permission.enabled`: when false everybody may do everything. */
  readonly arePermissionsChecked: boolean;
  /** `alluxio.security.authorization.permission.supergroup`. */
  readonly superGroup: string;
  /** The user that runs the master. */
  readonly superUser: string;
};

export const PRINCIPAL_DEFAULTS: PrincipalOptions = {
  arePermissionsChecked: true,
  superGroup: "supergroup",
  superUser: userInfo().username,
};

/** Turns the name of an authenticated user into a principal. */
export class Principals {
  readonly #groups: GroupMapping;
  readonly #options: PrincipalOptions;

  constructor(groups: GroupMapping, options: Partial<PrincipalOptions> = {}) {
    this.#groups = groups;
    this.#options = { ...PRINCIPAL_DEFAULTS, ...options };
  }

  async principalOf(user: string): Promise<Principal> {
    const { arePermissionsChecked, superGroup, superUser } = this.#options;
    const groups = await this.#groups.groupsOf(user);
    const isSuperuser =
      !arePermissionsChecked ||
      user === superUser ||
      (superGroup !== "" && groups.includes(superGroup));
    return { user, groups, isSuperuser };
  }
}
