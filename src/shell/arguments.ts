/**
 * Command lines as Alluxio's shells read them. Pure.
 *
 * Options stand anywhere, long ones with one dash or two (`-domain`, `--domain`), values after a
 * blank or "=", single letters together (`-Rh`), `--` ends them, and `-Dkey=value` sets a property.
 * @module
 */
import { didYouMean, nearest } from "./suggest.ts";

export type FlagSpec = {
  /** Without dashes; the first names the flag in {@link ParsedArguments}. */
  readonly names: readonly string[];
  /** What the value is, when the flag takes one. */
  readonly value?: string;
  readonly help: string;
};

export type CommandSpec = {
  /** What follows the name in a usage line. */
  readonly usage: string;
  readonly summary: string;
  readonly flags: readonly FlagSpec[];
  readonly argumentsMin: number;
  /** Infinity: any number. */
  readonly argumentsMax: number;
};

export type ParsedArguments = {
  readonly positional: readonly string[];
  has(flag: string): boolean;
  /** The last value given; undefined when the flag is absent. */
  value(flag: string): string | undefined;
  /** All that were given, in their order. */
  values(flag: string): readonly string[];
};

/** What the user typed cannot be understood; the text is for them, the usage follows it. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** A negative number or a lone dash is an argument, not an option. */
function isOption(word: string): boolean {
  return word.length > 1 && word.startsWith("-") && !/^-\d/.test(word);
}

class Scan {
  readonly positional: string[] = [];
  readonly values = new Map<string, string[]>();
  readonly #byName = new Map<string, FlagSpec>();
  readonly #words: readonly string[];
  #next = 0;

  constructor(words: readonly string[], flags: readonly FlagSpec[]) {
    this.#words = words;
    for (const flag of flags) for (const name of flag.names) this.#byName.set(name, flag);
  }

  run(): void {
    while (this.#next < this.#words.length) {
      const word = this.#words[this.#next++] ?? "";
      if (word === "--") {
        this.positional.push(...this.#words.slice(this.#next));
        return;
      }
      if (isOption(word)) this.#option(word);
      else this.positional.push(word);
    }
  }

  #option(word: string): void {
    const body = word.replace(/^--?/, "");
    const at = body.indexOf("=");
    const name = at < 0 ? body : body.slice(0, at);
    const given = at < 0 ? undefined : body.slice(at + 1);
    const flag = this.#byName.get(name);
    if (flag !== undefined) this.#take(flag, word, given);
    else if (word.startsWith("--") || !this.#letters(word)) throw this.#unknown(word, name);
  }

  #unknown(word: string, name: string): UsageError {
    const found = name.length > 2 ? nearest(name, this.#byName.keys()) : [];
    const hint = didYouMean(found.map((one) => (one.length === 1 ? `-${one}` : `--${one}`)));
    return new UsageError(`Unrecognized option: ${word}${hint === "" ? "" : ` (${hint})`}`);
  }

  /** "-Rh": every letter is a flag; the last one may have its value attached, as in "-c10". */
  #letters(word: string): boolean {
    const flags: FlagSpec[] = [];
    const letters = [...word.slice(1)];
    for (const [at, letter] of letters.entries()) {
      const flag = this.#byName.get(letter);
      if (flag === undefined) return false;
      if (flag.value !== undefined && at < letters.length - 1) {
        for (const one of flags) this.#take(one, word, undefined);
        this.#take(flag, word, letters.slice(at + 1).join(""));
        return true;
      }
      flags.push(flag);
    }
    for (const flag of flags) this.#take(flag, word, undefined);
    return true;
  }

  #take(flag: FlagSpec, word: string, given: string | undefined): void {
    const name = flag.names[0] ?? "";
    const held = this.values.get(name) ?? [];
    this.values.set(name, held);
    if (flag.value === undefined) {
      if (given !== undefined) throw new UsageError(`Option ${word} takes no value`);
      held.push("");
      return;
    }
    const value = given ?? this.#words[this.#next++];
    if (value === undefined) throw new UsageError(`Missing argument for option: ${name}`);
    held.push(value);
  }
}

/**
 * Reads the words after a command's name.
 * @throws UsageError for an unknown option, a missing value, or too few or too many arguments
 */
export function parseArguments(
  command: string,
  words: readonly string[],
  spec: CommandSpec,
): ParsedArguments {
  const scan = new Scan(words, spec.flags);
  scan.run();
  const count = scan.positional.length;
  const { argumentsMin: min, argumentsMax: max } = spec;
  if (min === max && count !== min)
    throw new UsageError(`Command ${command} takes ${min} arguments, not ${count}`);
  if (count < min)
    throw new UsageError(
      `Command ${command} requires at least ${min} arguments (${count} provided)`,
    );
  if (count > max)
    throw new UsageError(`Command ${command} takes at most ${max} arguments (${count} provided)`);
  return {
    positional: scan.positional,
    has: (flag) => scan.values.has(flag),
    value: (flag) => scan.values.get(flag)?.at(-1),
    values: (flag) => scan.values.get(flag) ?? [],
  };
}

/** Takes the `-Dkey=value` words out of a command line, wherever they stand before "--". */
export function splitProperties(words: readonly string[]): {
  readonly properties: ReadonlyMap<string, string>;
  readonly rest: readonly string[];
} {
  const properties = new Map<string, string>();
  const rest: string[] = [];
  for (const [at, word] of words.entries()) {
    if (word === "--") {
      rest.push(...words.slice(at));
      break;
    }
    const match = /^-D([^=\s]+)=([\s\S]*)$/.exec(word);
    if (match === null) rest.push(word);
    else properties.set(match[1] ?? "", match[2] ?? "");
  }
  return { properties, rest };
}
