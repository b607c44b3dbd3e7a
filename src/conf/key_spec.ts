/**
 * What a configuration key is: its name, how its text becomes a value, its default and its meaning.
 *
 * Pure. A value type says in words what it expects, so that an error about a bad value can name the
 * form that would have been right.
 * @module
 */
import { parseDurationMs, parseSizeBytes } from "../common/units.ts";

/** Who reads a key. SERVER is masters and workers. */
export type Scope = "MASTER" | "WORKER" | "CLIENT" | "SERVER" | "ALL";

export type ValueType<T> = {
  /** Alluxio's name of the kind of value. */
  readonly name: "BOOLEAN" | "INTEGER" | "DURATION" | "DATASIZE" | "LIST" | "ENUM" | "STRING";
  /** Completes "expected …" in an error. */
  readonly expected: string;
  /** Null when the text is not of this type. */
  readonly parse: (text: string) => T | null;
};

/** `T` holds null when the key has no default and may stay unset. */
export type KeySpec<T> = {
  readonly key: string;
  /** Older names, and names of other versions; the key's own name wins when both are set. */
  readonly aliases: readonly string[];
  readonly type: ValueType<NonNullable<T>>;
  /** May refer to other keys as `${name}`. Null: unset. */
  readonly defaultText: string | null;
  readonly scope: Scope;
  readonly doc: string;
};

export const BOOLEAN: ValueType<boolean> = {
  name: "BOOLEAN",
  expected: "true or false",
  parse: (text) => {
    const lower = text.toLowerCase();
    return lower === "true" ? true : lower === "false" ? false : null;
  },
};

export function integer(range: { readonly min: number; readonly max: number }): ValueType<number> {
  return {
    name: "INTEGER",
    expected: `a whole number from ${range.min} to ${range.max}`,
    parse: (text) => {
      if (!/^[+-]?\d+$/.test(text)) return null;
      const value = Number(text);
      return value >= range.min && value <= range.max ? value : null;
    },
  };
}

export const INTEGER = integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
/** 0 lets the system choose a free port. */
export const PORT: ValueType<number> = {
  ...integer({ min: 0, max: 65_535 }),
  expected: "a port from 0 to 65535",
};

/** Milliseconds; -1 often means "never". */
export const DURATION: ValueType<number> = {
  name: "DURATION",
  expected: "a duration such as 500ms, 10s, 5min or 1h (a bare number is milliseconds)",
  parse: parseDurationMs,
};

/** A time-out or interval: negative makes no sense, and neither does zero. */
export const POSITIVE_DURATION: ValueType<number> = {
  ...DURATION,
  expected: "a duration above zero such as 500ms, 10s or 5min (a bare number is milliseconds)",
  parse: (text) => {
    const value = parseDurationMs(text);
    return value !== null && value > 0 ? value : null;
  },
};

export const DATASIZE: ValueType<number> = {
  name: "DATASIZE",
  expected: "a size such as 512B, 64MB or 1GB (a bare number is bytes)",
  parse: (text) => {
    const value = parseSizeBytes(text);
    return value !== null && value >= 0 && Number.isSafeInteger(value) ? value : null;
  },
};

export const STRING: ValueType<string> = {
  name: "STRING",
  expected: "text",
  parse: (text) => text,
};

/** Class names of Alluxio are accepted, since a site file may hold one; only their last part counts here. */
export function classOf(names: readonly string[]): ValueType<string> {
  return {
    name: "ENUM",
    expected: `one of ${names.join(", ")}`,
    parse: (text) => {
      const last = text.slice(text.lastIndexOf(".") + 1).toLowerCase();
      return names.find((name) => name.toLowerCase() === last) ?? null;
    },
  };
}

export function oneOf<const N extends string>(names: readonly N[]): ValueType<N> {
  return {
    name: "ENUM",
    expected: `one of ${names.join(", ")}`,
    parse: (text) => names.find((name) => name.toLowerCase() === text.toLowerCase()) ?? null,
  };
}

function partsOf(text: string, separators: RegExp): string[] {
  return text
    .split(separators)
    .map((part) => part.trim())
    .filter((part) => part !== "");
}

/** Comma-separated; blanks around the parts and empty parts are dropped. */
export const LIST: ValueType<readonly string[]> = {
  name: "LIST",
  expected: "a list separated by commas",
  parse: (text) => partsOf(text, /,/),
};

/** Sizes with commas between. */
export const DATASIZE_LIST: ValueType<readonly number[]> = {
  name: "LIST",
  expected: "sizes separated by commas, such as 16GB,100GB",
  parse: (text) => {
    const sizes = partsOf(text, /,/).map(DATASIZE.parse);
    return sizes.every((size) => size !== null) ? sizes : null;
  },
};

export type HostPort = { readonly host: string; readonly port: number };

/** "host:port" or "[v6 address]:port"; null when it is neither. */
export function parseHostPort(text: string): HostPort | null {
  const match = /^\s*(?:\[([0-9a-f:.%]+)\]|([^\s:[\],;/]+)):(\d{1,5})\s*$/i.exec(text);
  if (match === null) return null;
  const port = Number(match[3]);
  const host = match[1] ?? match[2] ?? "";
  return host !== "" && port <= 65_535 ? { host, port } : null;
}

/** As it is written in a list: v6 addresses go in brackets. */
export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Addresses of several masters. Some programs need `;` or `+` where others take a comma. */
export const ADDRESSES: ValueType<readonly HostPort[]> = {
  name: "LIST",
  expected: "addresses separated by commas, such as m1:19998,m2:19998,m3:19998",
  parse: (text) => {
    const addresses = partsOf(text, /[,;+]/).map(parseHostPort);
    return addresses.length > 0 && addresses.every((address) => address !== null)
      ? addresses
      : null;
  },
};

type Meaning = {
  readonly scope: Scope;
  readonly doc: string;
  readonly aliases?: readonly string[];
};

/** A key that always has a value. */
export function keySpec<T>(
  key: string,
  type: ValueType<NonNullable<T>>,
  defaultText: string,
  meaning: Meaning,
): KeySpec<NonNullable<T>> {
  return { key, type, defaultText, aliases: [], ...meaning };
}

/** A key that may be unset: then its value is null. */
export function unsetKeySpec<T>(
  key: string,
  type: ValueType<NonNullable<T>>,
  meaning: Meaning,
): KeySpec<NonNullable<T> | null> {
  return { key, type, defaultText: null, aliases: [], ...meaning };
}
