/**
 * `conf get`: what a property is here, or at the leading master, and who said so.
 * @module
 */
import { parseDurationMs, parseSizeBytes } from "../common/units.ts";
import { defaultTextOf, isKnownName, keyOf } from "../conf/keys.ts";
import type { ParsedArguments } from "./arguments.ts";
import type { Command, CommandTable } from "./command.ts";
import { EXIT_OK, say } from "./console.ts";
import type { Session } from "./session.ts";

/** Alluxio's exit code for a key that nobody knows. */
const EXIT_UNKNOWN_KEY = 1;

const UNITS: Readonly<Record<string, number>> = {
  b: 1,
  kb: 1024,
  mb: 1024 ** 2,
  gb: 1024 ** 3,
  tb: 1024 ** 4,
  pb: 1024 ** 5,
};
const TIMES: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** A value in another unit; null when it is no size or time, or the unit is none. */
export function inUnit(value: string, unit: string): string | null {
  const bytes = UNITS[unit.toLowerCase()];
  const amount = bytes === undefined ? parseDurationMs(value) : parseSizeBytes(value);
  const factor = bytes ?? TIMES[unit.toLowerCase()];
  return amount === null || factor === undefined ? null : String(Math.trunc(amount / factor));
}

async function all(session: Session, given: ParsedArguments): Promise<number> {
  const { console } = session;
  const lines: string[] = [];
  if (given.has("master"))
    for (const [key, { value, source }] of await (await session.files()).configuration())
      lines.push(`${key}=${value} (${source})`);
  else
    for (const { key, value, source } of session.configuration.entries())
      lines.push(`${key}=${value ?? ""} (${source})`);
  await say(console, lines.sort().join("\n"));
  return EXIT_OK;
}

/** As Alluxio prints it: of site files, which one; of others, what they are. */
function sourceText(source: string, origin: string): string {
  return source === "SITE_PROPERTY" ? `${source} (${origin})` : source;
}

async function valueAt(
  session: Session,
  key: string,
  isMaster: boolean,
): Promise<{ readonly value: string; readonly source: string } | null> {
  const name = keyOf(key)?.key ?? key;
  const { configuration } = session;
  if (isMaster) {
    const found = (await (await session.files()).configuration()).get(name);
    if (found !== undefined) return found;
    // Masters tell what they know and what was set there: the rest has its default.
    if (!isKnownName(name)) return null;
    return { value: defaultTextOf(name) ?? "", source: "DEFAULT" };
  }
  const entry = configuration.entries().find((one) => one.key === name);
  if (entry !== undefined)
    return { value: entry.value ?? "", source: sourceText(entry.source, entry.origin) };
  if (!configuration.isKnown(name)) return null;
  return { value: configuration.text(name) ?? "", source: configuration.source(name) };
}

const get: Command = {
  usage: "[key] [--master] [--source] [--unit <unit>]",
  summary: "Looks up a configuration key, or prints all of them.",
  flags: [
    { names: ["master"], help: "as the leading master has it" },
    { names: ["source"], help: "who set it" },
    { names: ["unit"], value: "unit", help: "B, KB, MB, GB, TB, PB or ms, s, m, h, d" },
  ],
  argumentsMin: 0,
  argumentsMax: 1,
  async run(session, given) {
    const [key] = given.positional;
    if (key === undefined) return all(session, given);
    const { console } = session;
    const found = await valueAt(session, key, given.has("master"));
    if (found === null) {
      await say(console, `${key} is not a valid configuration key`);
      return EXIT_UNKNOWN_KEY;
    }
    const unit = given.value("unit");
    if (given.has("source"))
      await say(console, found.source.replace(/^(?!SITE_PROPERTY)(\w+) \(.*\)$/, "$1"));
    else if (unit === undefined) await say(console, found.value);
    else {
      const converted = inUnit(found.value, unit);
      await say(console, converted ?? `${found.value} cannot be given in ${unit}`);
      if (converted === null) return EXIT_UNKNOWN_KEY;
    }
    return EXIT_OK;
  },
};

export const COMMANDS: CommandTable = { get };
