/**
 * The same facts for people and for programs: `--format text|json|yaml`.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import type { FlagSpec, ParsedArguments } from "./arguments.ts";
import { say } from "./console.ts";
import type { Session } from "./session.ts";

export type Json = string | number | boolean | readonly Json[] | { readonly [key: string]: Json };

export const FORMAT: FlagSpec = {
  names: ["format"],
  value: "text|json|yaml",
  help: "text when left out",
};

/** Block style, strings quoted as in JSON: a subset of YAML that every reader takes. */
export function toYaml(value: Json, indent = ""): string {
  if (Array.isArray(value)) {
    if (value.length === 0) return " []";
    const items = value.map((item: Json) => `${indent}-${toYaml(item, `${indent}  `)}`);
    return `\n${items.join("\n")}`;
  }
  if (typeof value === "object") {
    const fields = Object.entries(value);
    if (fields.length === 0) return " {}";
    return `\n${fields.map(([key, item]) => `${indent}${yamlKey(key)}:${toYaml(item, `${indent}  `)}`).join("\n")}`;
  }
  return ` ${typeof value === "string" ? JSON.stringify(value) : String(value)}`;
}

function yamlKey(key: string): string {
  return /^[A-Za-z_][\w.-]*$/.test(key) ? key : JSON.stringify(key);
}

/** @throws RockpoolError INVALID_ARGUMENT for a format that nobody knows */
export function formatOf(given: ParsedArguments): "text" | "json" | "yaml" {
  const text = given.value("format") ?? "text";
  const found = (["text", "json", "yaml"] as const).find((one) => one === text.toLowerCase());
  if (found === undefined)
    throw new RockpoolError(
      "INVALID_ARGUMENT",
      `Unknown format ${text}`,
      "--format takes text, json or yaml",
    );
  return found;
}

/** Prints what a report found, as it was asked for. */
export async function print(
  session: Session,
  given: ParsedArguments,
  lines: () => readonly string[],
  json: () => Json,
): Promise<void> {
  const format = formatOf(given);
  if (format === "json") return say(session.console, JSON.stringify(json(), null, 2));
  if (format === "yaml") return say(session.console, toYaml(json()).trimStart());
  return say(session.console, lines().join("\n"));
}
