/**
 * Takes secrets out of text that goes to other people. Pure.
 *
 * Hidden: values of names that sound like secrets, in properties, environments, JSON, XML and command lines; passwords in
 * URIs and bearer tokens; and every value that is known to be a secret, wherever it stands.
 * @module
 */
import { isSecretName } from "../conf/keys.ts";

const MASK = "******";
/** Shorter ones are found in every text, and protect nothing. */
const KNOWN_CHARS_MIN = 4;

/** `name=value`, `name: value`, `"name": "value"`, `-Dname=value`. */
const PAIR = /([\w.-]+)(["']?\s*[=:]\s*["']?)([^\s"',;&<>]+)/g;
const XML =
  /(<name>\s*([^<\s]+)\s*<\/name>(?:(?!<\/?property>|<value>)[\s\S]){0,4096}<value>)([^<]*)(<\/value>)/g;

/** `"name": "a value; with anything in it"`. */
const QUOTED = /([\w.-]+)(["']?\s*[=:]\s*)(["'])(?:\\.|(?!\3)[^\\\n])*\3/g;
/** A line that is one property: its value may hold blanks and quotes, and go on behind a backslash. */
const LINE = /^([ \t]*(?:export[ \t]+)?([\w.-]+)[ \t]*[=:][ \t]*)(\S(?:[^\n]*\\\r?\n)*[^\n]*)$/gm;
/** In a properties file a blank parts a name from its value, too; in other text that is a sentence. */
const BLANK_LINE = /^([ \t]*((?:alluxio|aws|fs|s3a?|dfs|hadoop)\.[\w.-]+)[ \t]+)([^\s=:][^\n]*)$/gm;
/** Keys in conf/, and in what daemons print. */
const PRIVATE_KEY =
  /(-----BEGIN [A-Z ]*PRIVATE KEY-----)[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)/g;

/** @param known values of secrets that the configuration holds */
export function maskSecrets(text: string, known: readonly string[]): string {
  let masked = text;
  // First: what the forms below find may be a part of one alone.
  for (const secret of [...known].sort((a, b) => b.length - a.length))
    if (secret.length >= KNOWN_CHARS_MIN) masked = masked.replaceAll(secret, MASK);
  return maskForms(masked);
}

function maskForms(text: string): string {
  const maskLine = (whole: string, before: string, name: string) =>
    isSecretName(name) ? `${before}${MASK}` : whole;
  return text
    .replace(PRIVATE_KEY, `$1\n${MASK}\n$2`)
    .replace(QUOTED, (whole, name: string, between: string, quote: string) =>
      isSecretName(name) ? `${name}${between}${quote}${MASK}${quote}` : whole,
    )
    .replace(LINE, maskLine)
    .replace(BLANK_LINE, maskLine)
    .replace(/(--?([\w.-]+)[ \t]+)([^\s-]\S*)/g, maskLine)
    .replace(/(:\/\/[^\s/:@]*:)[^\s/@]+@/g, `$1${MASK}@`)
    .replace(/\b(bearer\s+)[\w.~+/-]+=*/gi, `$1${MASK}`)
    .replace(XML, (whole, before: string, name: string, _value: string, after: string) =>
      isSecretName(name) ? `${before}${MASK}${after}` : whole,
    )
    .replace(PAIR, (whole, name: string, between: string, value: string) => {
      if (isSecretName(name)) return `${name}${between}${MASK}`;
      // "-Da.b=c" inside the value of another name.
      return value.includes("=") ? `${name}${between}${maskForms(value)}` : whole;
    });
}

/** Values of secrets among names and values. */
export function secretsAmong(
  values: Iterable<readonly [string, string | null | undefined]>,
): string[] {
  const found: string[] = [];
  for (const [name, value] of values)
    if (isSecretName(name) && typeof value === "string" && value !== "") found.push(value);
  return found;
}
