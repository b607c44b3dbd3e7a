/**
 * What a command says of itself: the short form of Alluxio's `fs help ls`, and a page as `man` shows one. Pure.
 * @module
 */
import type { CommandSpec, FlagSpec } from "./arguments.ts";

/** What a page has beyond the command's flags. */
export type Manual = {
  /** Paragraphs after the summary. */
  readonly description?: readonly string[];
  /** Beyond those that every command has. */
  readonly exitCodes?: readonly (readonly [code: string, meaning: string])[];
  /** A command line without the program's name, and what it does. */
  readonly examples?: readonly (readonly [line: string, meaning: string])[];
  readonly seeAlso?: readonly string[];
};

const WIDTH = 80;
const INDENT = 4;

/** Breaks a paragraph at blanks. */
export function wrap(text: string, indent: number, width = WIDTH): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(/\s+/).filter((one) => one !== "")) {
    if (line !== "" && indent + line.length + 1 + word.length > width) {
      lines.push(line);
      line = "";
    }
    line += line === "" ? word : ` ${word}`;
  }
  if (line !== "") lines.push(line);
  return lines.map((one) => `${" ".repeat(indent)}${one}`);
}

/** "-R, -r, --recursive", and what the value is. */
export function flagNames({ names, value }: FlagSpec): string {
  const shown = names.map((one) => (one.length === 1 ? `-${one}` : `--${one}`)).join(", ");
  return value === undefined ? shown : `${shown} <${value}>`;
}

/** The lines of `fs help ls`: what it does, its usage, its options. */
export function helpText(name: string, spec: CommandSpec): string {
  const lines = [`${name}: ${spec.summary}`, `Usage: ${name} ${spec.usage}`.trimEnd()];
  if (spec.flags.length > 0) lines.push("Options:");
  for (const flag of spec.flags) lines.push(`  ${flagNames(flag).padEnd(28)} ${flag.help}`);
  return lines.join("\n");
}

const PROPERTY_FLAG = "-D<key>=<value>";
const EXIT_CODES: readonly (readonly [string, string])[] = [
  ["0", "It is done."],
  ["255", "It failed, or the arguments were not understood; a line says why."],
  ["130", "Ctrl-C came before it was done."],
];

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [title, ...lines, ""];
}

function optionLines(spec: CommandSpec): string[] {
  const options = spec.flags.map((flag): readonly [string, string] => [flagNames(flag), flag.help]);
  const all = [...options, [PROPERTY_FLAG, "sets a property for this command alone"] as const];
  return all.flatMap(([names, help]) => [
    `${" ".repeat(INDENT)}${names}`,
    ...wrap(sentence(help), 2 * INDENT),
  ]);
}

function sentence(text: string): string {
  const first = text.slice(0, 1).toUpperCase();
  return `${first}${text.slice(1)}${/[.?!]$/.test(text) ? "" : "."}`;
}

function exitLines(manual: Manual): string[] {
  const own = new Map(manual.exitCodes ?? []);
  const all = [...EXIT_CODES.filter(([code]) => !own.has(code)), ...own];
  all.sort(([a], [b]) => Number(a) - Number(b));
  return all.flatMap(([code, meaning]) => {
    const [first = "", ...more] = wrap(meaning, INDENT + 6);
    return [`${" ".repeat(INDENT)}${code.padEnd(6)}${first.trimStart()}`, ...more];
  });
}

export type Page = {
  /** "fs ls". */
  readonly name: string;
  readonly spec: CommandSpec;
  readonly manual: Manual;
  /** Other spellings: "runTests". */
  readonly alsoCalled: readonly string[];
};

/** The page of a command. */
export function manualPage({ name, spec, manual, alsoCalled }: Page): string {
  const pad = " ".repeat(INDENT);
  const synopsis = [name, ...alsoCalled].map((one) => `rockpool ${one} ${spec.usage}`.trimEnd());
  const description = [spec.summary, ...(manual.description ?? [])].map((text) =>
    wrap(sentence(text), INDENT).join("\n"),
  );
  const examples = (manual.examples ?? []).flatMap(([line, meaning]) => [
    `${pad}$ rockpool ${line}`,
    ...wrap(sentence(meaning), 2 * INDENT),
  ]);
  const seeAlso = (manual.seeAlso ?? []).map((one) => `rockpool help ${one}`);
  const lines = [
    ...section("NAME", wrap(`rockpool ${name} - ${firstSentence(spec.summary)}`, INDENT)),
    ...section(
      "SYNOPSIS",
      synopsis.flatMap((line) => {
        const [first = "", ...more] = wrap(line, 2 * INDENT);
        return [`${pad}${first.trimStart()}`, ...more];
      }),
    ),
    ...section("DESCRIPTION", description.join("\n\n").split("\n")),
    ...section("OPTIONS", optionLines(spec)),
    ...section("EXIT CODES", exitLines(manual)),
    ...section("EXAMPLES", examples),
    ...section(
      "SEE ALSO",
      seeAlso.length === 0 ? [`${pad}rockpool help`] : wrap(seeAlso.join(", "), INDENT),
    ),
  ];
  return lines.join("\n").trimEnd();
}

function firstSentence(text: string): string {
  return text
    .replace(/\.( [\s\S]*)?$/, "")
    .replace(/^[A-Z](?=[a-z])/, (letter) => letter.toLowerCase());
}
