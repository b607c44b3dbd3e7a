/**
 * Who somebody is: the groups of a user, and whether they are the superuser.
 *
 * The operating system of the master is asked, by `id -Gn`, without a shell; only names that an account can
 * have are passed on. Answers are kept for a minute. Then they are asked for again, and the old ones count for as long as that
 * takes: two processes have to be started, which nobody's call should wait for. When the system cannot answer (it has no room for a
 * process, or takes too long) that is no news about the user.
 * @module
 */
import { execFile } from "node:child_process";
import { userInfo } from "node:os";
import { RockpoolError } from "../common/errors.ts";
import type { Clock } from "../world/ports.ts";
import type { Principal } from "./api.ts";

export interface GroupMapping {
  /** The primary group first; none for a user that the system does not know. */
  groupsOf(user: string): Promise<readonly string[]>;
}

const CACHE_MS = 60_000;
/** Answers that are older are waited for: somebody may have left a group meanwhile. */
const STALE_MS = 10 * 60_000;
const CACHE_ENTRIES_MAX = 10_000;
const TIMEOUT_MS = 5000;
/** What useradd allows, plus dots and a domain; never a leading dash, which `id` would take for an option. */
const USER_NAME = /^[A-Za-z0-9_][A-Za-z0-9_.@\\-]{0,255}\$?$/;

type Output = { readonly text: string } | "unknownUser" | "noAnswer";

function run(file: string, args: readonly string[]): Promise<Output> {
  return new Promise((resolve) => {
    execFile(file, [...args], { timeout: TIMEOUT_MS, encoding: "utf8" }, (error, text) => {
      if (error === null) return resolve({ text });
      // Most users of a cluster have no account on its masters. A system without `id` knows nobody.
      const isUnknown = typeof error.code === "number" || error.code === "ENOENT";
      return resolve(isUnknown ? "unknownUser" : "noAnswer");
    });
  });
}

/** Null when the system did not answer. */
export async function askSystem(user: string): Promise<readonly string[] | null> {
  const [primary, all] = await Promise.all([
    run("id", ["-gn", "--", user]),
    run("id", ["-Gn", "--", user]),
  ]);
  if (primary === "noAnswer" || all === "noAnswer") return null;
  if (primary === "unknownUser" || all === "unknownUser") return [];
  const first = primary.text.trim();
  const others = all.text
    .trim()
    .split(/\s+/)
    .filter((group) => group !== first && group !== "");
  return [first, ...others];
}

type Known = {
  readonly groups: readonly string[];
  readonly askedMs: number;
};

export class OsGroupMapping implements GroupMapping {
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #ask: (user: string) => Promise<readonly string[] | null>;
  readonly #known = new Map<string, Known>();
  readonly #asking = new Map<string, Promise<readonly string[]>>();

  constructor(clock: Pick<Clock, "monotonicMs">, ask = askSystem) {
    this.#clock = clock;
    this.#ask = ask;
  }

  /** @throws RockpoolError UNAVAILABLE when the system does not answer and nothing is known from before */
  async groupsOf(user: string): Promise<readonly string[]> {
    if (!USER_NAME.test(user)) return [];
    const known = this.#known.get(user);
    const ageMs = known === undefined ? Infinity : this.#clock.monotonicMs() - known.askedMs;
    if (known !== undefined && ageMs < CACHE_MS) return known.groups;
    const asking = this.#asking.get(user) ?? this.#refresh(user);
    if (known === undefined || ageMs > STALE_MS) return asking;
    asking.catch(() => {}); // the old ones count; the next call asks again
    return known.groups;
  }

  /** What was heard last; none when nobody asked yet. */
  knownGroupsOf(user: string): readonly string[] {
    return this.#known.get(user)?.groups ?? [];
  }

  #refresh(user: string): Promise<readonly string[]> {
    const asking = this.#answer(user).finally(() => this.#asking.delete(user));
    this.#asking.set(user, asking);
    return asking;
  }

  async #answer(user: string): Promise<readonly string[]> {
    const askedMs = this.#clock.monotonicMs();
    const groups = await this.#ask(user);
    if (groups === null)
      throw new RockpoolError(
        "UNAVAILABLE",
        `The system of this master does not say which groups user ${user} is in`,
        "It is overloaded, or has no room for another process",
      );
    this.#known.delete(user);
    this.#known.set(user, { groups, askedMs });
    const [oldest] = this.#known.keys();
    if (this.#known.size > CACHE_ENTRIES_MAX && oldest !== undefined) this.#known.delete(oldest);
    return groups;
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
  readonly #options: Partial<PrincipalOptions>;

  constructor(groups: GroupMapping, options: Partial<PrincipalOptions> = {}) {
    this.#groups = groups;
    this.#options = options;
  }

  async principalOf(user: string): Promise<Principal> {
    // Looked at each time: the supergroup may change while the master runs.
    const { arePermissionsChecked, superGroup, superUser } = {
      ...PRINCIPAL_DEFAULTS,
      ...this.#options,
    };
    const groups = await this.#groups.groupsOf(user);
    const isSuperuser =
      !arePermissionsChecked ||
      user === superUser ||
      (superGroup !== "" && groups.includes(superGroup));
    return { user, groups, isSuperuser };
  }
}
