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
const XML = /(<name>\s*([^<\s]+)\s*<\/name>\s*<value>)([^<]*)(<\/value>)/g;

/** @param known values of secrets that the configuration holds */
export function maskSecrets(text: string, known: readonly string[]): string {
  let masked = text
    .replace(/(:\/\/[^\s/:@]+:)[^\s/@]+@/g, `$1${MASK}@`)
    .replace(/\b(bearer\s+)[\w.~+/-]+=*/gi, `$1${MASK}`)
    .replace(XML, (whole, before: string, name: string, _value: string, after: string) =>
      isSecretName(name) ? `${before}${MASK}${after}` : whole,
    )
    .replace(PAIR, (whole, name: string, between: string, value: string) => {
      if (isSecretName(name)) return `${name}${between}${MASK}`;
      // "-Da.b=c" inside the value of another name.
      return value.includes("=") ? `${name}${between}${maskSecrets(value, [])}` : whole;
    });
  for (const secret of [...known].sort((a, b) => b.length - a.length))
    if (secret.length >= KNOWN_CHARS_MIN) masked = masked.replaceAll(secret, MASK);
  return masked;
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
