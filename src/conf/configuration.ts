/**
 * The configuration of a process: layers of texts, made into typed values once, then frozen.
 *
 * Pure. Promises: the first layer that sets a key wins, and a key's own name wins over its aliases
 * within a layer; `${name}` in a value is replaced by the text of that key, from whatever layer; every
 * key of the tables is parsed before anything starts, and all that is wrong is said at once, each with
 * key, value, expected form, file and line.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import type { KeySpec } from "./key_spec.ts";
import { ALL_KEYS, defaultTextOf, isKnownName, isSecretName, keyOf, nearestName } from "./keys.ts";

/** Where a value came from; the names are those that Alluxio's tools print. */
export type Source =
  | "RUNTIME"
  | "SYSTEM_PROPERTY"
  | "ENVIRONMENT"
  | "SITE_PROPERTY"
  | "PATH_DEFAULT"
  | "CLUSTER_DEFAULT"
  | "DEFAULT";

export type Assignment = {
  readonly name: string;
  readonly value: string;
  /** "conf/alluxio-site.properties:12", "-D", "environment variable ALLUXIO_HOME". */
  readonly origin: string;
};

/** Later assignments of one layer win over earlier ones. */
export type Layer = { readonly source: Source; readonly assignments: readonly Assignment[] };

/** One line of `conf get`. */
export type ConfigurationEntry = {
  readonly key: string;
  /** Null: unset. Secrets are masked. */
  readonly value: string | null;
  readonly source: Source;
  /** Where exactly it was written; empty for defaults. */
  readonly origin: string;
};

type Setting = { readonly text: string; readonly source: Source; readonly origin: string };

export const MASKED = "******";
/** A chain of references longer than this is a mistake even if it is no circle. */
const DEPTH_MAX = 20;
/** In one value, with those inside of what they stand for: a few lines that refer to each other must not fill the memory. */
const REFERENCES_MAX = 1000;
const RESOLVED_LENGTH_MAX = 64 * 1024;

export class Configuration {
  /** About names that nobody knows, and values that were ignored. */
  readonly warnings: readonly string[];
  /** What it was made of, the strongest first. */
  readonly layers: readonly Layer[];
  readonly #settings: ReadonlyMap<string, Setting>;
  readonly #values: ReadonlyMap<string, unknown>;

  constructor(parts: {
    readonly settings: ReadonlyMap<string, Setting>;
    readonly values: ReadonlyMap<string, unknown>;
    readonly warnings: readonly string[];
    readonly layers: readonly Layer[];
  }) {
    this.layers = parts.layers;
    this.#settings = parts.settings;
    this.#values = parts.values;
    this.warnings = Object.freeze([...parts.warnings]);
    Object.freeze(this);
  }

  /** The value of a key of the tables; null only for keys without a default. */
  get<T>(spec: KeySpec<T>): T {
    // The table was parsed with this very spec's type, so the value under its key is a T.
    return this.#values.get(spec.key) as T;
  }

  /** Whether somebody set it, by its name or an alias; false for defaults. */
  isSet(spec: KeySpec<unknown>): boolean {
    return this.#settings.has(spec.key);
  }

  /** The text of any name, with references replaced; null when it is unset and has no default. */
  text(name: string): string | null {
    const key = keyOf(name)?.key ?? name;
    const resolved = resolve(this.#settings, key, []);
    return resolved.kind === "text" ? resolved.text : null;
  }

  source(name: string): Source {
    return this.#settings.get(keyOf(name)?.key ?? name)?.source ?? "DEFAULT";
  }

  /** Where exactly it was written: file and line, "-D", a variable; "its default" when nobody set it. */
  origin(spec: KeySpec<unknown>): string {
    return this.#settings.get(spec.key)?.origin ?? "its default";
  }

  /** Whether somebody may ask for this name without it being a slip of the pen. */
  isKnown(name: string): boolean {
    return isKnownName(name) || this.#settings.has(name);
  }

  /** Names that somebody set, aliases replaced by their keys. */
  setNames(): readonly string[] {
    return [...this.#settings.keys()].filter((name) => this.source(name) !== "DEFAULT");
  }

  /** What was set under names that begin so, for templates such as logical names of clusters. */
  withPrefix(prefix: string): ReadonlyMap<string, string> {
    const found = new Map<string, string>();
    for (const name of this.#settings.keys()) {
      const text = name.startsWith(prefix) ? this.text(name) : null;
      if (text !== null) found.set(name.slice(prefix.length), text);
    }
    return found;
  }

  /** Every key of the tables and every other name that was set, sorted. Secrets are masked. */
  entries(): readonly ConfigurationEntry[] {
    const names = new Set([...ALL_KEYS.map((spec) => spec.key), ...this.#settings.keys()]);
    return [...names].sort().map((key) => {
      const text = this.text(key);
      const setting = this.#settings.get(key);
      return {
        key,
        value: text !== null && isSecret(this.#settings, key) ? MASKED : text,
        source: setting?.source ?? "DEFAULT",
        origin: setting?.origin ?? "",
      };
    });
  }
}

type Resolved =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "unset" }
  | { readonly kind: "bad"; readonly problem: string };

function resolve(
  settings: ReadonlyMap<string, Setting>,
  key: string,
  chain: readonly string[],
  budget = { referencesLeft: REFERENCES_MAX },
): Resolved {
  if (chain.includes(key) || chain.length >= DEPTH_MAX)
    return { kind: "bad", problem: `it refers to itself: ${[...chain, key].join(" → ")}` };
  const raw = settings.get(key)?.text ?? defaultTextOf(key);
  if (raw === null) return { kind: "unset" };
  let problem: string | null = null;
  const text = raw.replace(/\$\{([^${}]*)\}/g, (whole, name: string) => {
    if (problem !== null) return whole;
    budget.referencesLeft -= 1;
    const inner: Resolved =
      budget.referencesLeft < 0
        ? { kind: "bad", problem: `it refers to more than ${REFERENCES_MAX} values` }
        : resolve(settings, keyOf(name)?.key ?? name, [...chain, key], budget);
    if (inner.kind === "text") return inner.text;
    problem ??= inner.kind === "bad" ? inner.problem : `\${${name}} has no value`;
    return whole;
  });
  if (text.length > RESOLVED_LENGTH_MAX && text !== raw)
    problem ??= `with its references it is longer than ${RESOLVED_LENGTH_MAX} characters`;
  return problem === null ? { kind: "text", text } : { kind: "bad", problem };
}

/** Names without a table of ours are ours to judge only under these roots; others belong to other programs. */
const OUR_ROOTS = /^(alluxio|rockpool)\./;

function collect(layers: readonly Layer[], warnings: string[]): Map<string, Setting> {
  const settings = new Map<string, Setting>();
  for (const { source, assignments } of layers) {
    const inLayer = new Map<string, { setting: Setting; isAlias: boolean }>();
    for (const { name, value, origin } of assignments) {
      const key = keyOf(name)?.key ?? name;
      const isAlias = key !== name;
      if (isAlias && inLayer.get(key)?.isAlias === false) continue;
      inLayer.set(key, { setting: { text: value, source, origin }, isAlias });
      if (OUR_ROOTS.test(name) && !isKnownName(name)) warnings.push(unknownName(name, origin));
    }
    for (const [key, { setting }] of inLayer) if (!settings.has(key)) settings.set(key, setting);
  }
  return settings;
}

function unknownName(name: string, origin: string): string {
  const nearest = nearestName(name);
  const advice = nearest === null ? "it is ignored" : `did you mean ${nearest}?`;
  return `Unknown property ${name} (${origin}): ${advice}`;
}

/**
 * @param layers from the strongest to the weakest
 * @throws RockpoolError INVALID_ARGUMENT that names every bad value, one a line
 */
export function createConfiguration(layers: readonly Layer[]): Configuration {
  const warnings: string[] = [];
  const settings = collect(layers, warnings);
  const values = new Map<string, unknown>();
  const problems = new Map<string, string>();
  for (const spec of ALL_KEYS) {
    const setting = settings.get(spec.key);
    const resolved = resolve(settings, spec.key, []);
    const text = resolved.kind === "text" ? resolved.text.trim() : null;
    // `key=` in a site file unsets a key that may be unset.
    const isUnset = resolved.kind === "unset" || (text === "" && spec.defaultText === null);
    const value = isUnset || text === null ? null : spec.type.parse(text);
    if (value === null && !isUnset)
      problems.set(spec.key, describe(spec, setting, resolved, isSecret(settings, spec.key)));
    values.set(spec.key, typeof value === "object" ? Object.freeze(value) : value);
  }
  if (problems.size > 0)
    throw new RockpoolError(
      "INVALID_ARGUMENT",
      causes(settings, problems).join("\n"),
      "Correct the values where they are set; `rockpool conf get` shows the rest",
    );
  return new Configuration({ settings, values, warnings, layers });
}

/**
 * The same with changes on top of everything.
 * @throws RockpoolError as {@link createConfiguration}
 */
export function withRuntime(
  configuration: Configuration,
  assignments: readonly Assignment[],
): Configuration {
  return createConfiguration([{ source: "RUNTIME", assignments }, ...configuration.layers]);
}

/**
 * The same over what the masters say: of paths, the innermost first, and of the cluster. What is set here is stronger.
 * Values of theirs that cannot be read here are left out, with a warning: a newer master must not stop its clients.
 */
export function withDefaults(
  configuration: Configuration,
  layers: readonly Layer[],
): Configuration {
  const isReadable = ({ name, value }: Assignment) => {
    const spec = keyOf(name);
    return spec === undefined || value.includes("${") || spec.type.parse(value.trim()) !== null;
  };
  const own = configuration.layers.filter(({ source }) => source !== "DEFAULT");
  const defaults = configuration.layers.filter(({ source }) => source === "DEFAULT");
  const readable = layers.map(({ source, assignments }) => ({
    source,
    assignments: assignments.filter(isReadable),
  }));
  return createConfiguration([...own, ...readable, ...defaults]);
}

/** Every key whose text goes into the text of this one. */
function referencesOf(
  settings: ReadonlyMap<string, Setting>,
  key: string,
  found = new Set<string>(),
): ReadonlySet<string> {
  const raw = settings.get(key)?.text ?? defaultTextOf(key) ?? "";
  for (const [, name = ""] of raw.matchAll(/\$\{([^${}]*)\}/g)) {
    const inner = keyOf(name)?.key ?? name;
    if (found.has(inner)) continue;
    found.add(inner);
    referencesOf(settings, inner, found);
  }
  return found;
}

/** Whether the text of this key is never shown: for its name, or for what goes into it. */
function isSecret(settings: ReadonlyMap<string, Setting>, key: string): boolean {
  return isSecretName(key) || [...referencesOf(settings, key)].some(isSecretName);
}

/** Leaves out what is bad only because a key that it refers to is; of a circle all are said. */
function causes(
  settings: ReadonlyMap<string, Setting>,
  problems: ReadonlyMap<string, string>,
): readonly string[] {
  const isCaused = (key: string) =>
    [...referencesOf(settings, key)].some(
      (other) => problems.has(other) && !referencesOf(settings, other).has(key),
    );
  return [...problems].filter(([key]) => !isCaused(key)).map(([, problem]) => problem);
}

function describe(
  spec: KeySpec<unknown>,
  setting: Setting | undefined,
  resolved: Resolved,
  isHidden: boolean,
): string {
  const where = setting === undefined ? "its default" : setting.origin;
  if (resolved.kind === "bad") return `Bad value of ${spec.key} (${where}): ${resolved.problem}`;
  const shown = isHidden ? MASKED : resolved.kind === "text" ? resolved.text : "";
  return `Bad value "${shown}" of ${spec.key} (${where}): expected ${spec.type.expected}`;
}
