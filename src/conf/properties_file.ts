/**
 * Reads and writes Java's .properties format, which Alluxio's site files are in.
 *
 * Pure. A key ends at the first `=`, `:` or blank that no backslash protects; a line that ends in an
 * odd number of backslashes goes on; `\uXXXX`, `\t`, `\n`, `\r`, `\f` stand for characters; lines that
 * begin with `#` or `!` are comments. One thing is softer than in Java: there a ` # comment` after a
 * value is part of the value, which nobody means; here it is taken off and reported.
 * @module
 */

export type Property = {
  readonly key: string;
  readonly value: string;
  /** 1 for the first line of the file. */
  readonly line: number;
};

export type PropertiesFile = {
  /** In the order of the file; a key may come twice, then the last one counts. */
  readonly properties: readonly Property[];
  readonly warnings: readonly { readonly line: number; readonly text: string }[];
};

type LogicalLine = { readonly text: string; readonly line: number };

function endsOpen(text: string): boolean {
  const backslashes = /\\*$/.exec(text)?.[0].length ?? 0;
  return backslashes % 2 === 1;
}

/** Joins continued lines; drops comments and empty lines. */
function* logicalLines(text: string): Iterable<LogicalLine> {
  const natural = text.replace(/^\uFEFF/, "").split(/\r\n|\r|\n/);
  for (let at = 0; at < natural.length; at += 1) {
    const line = at + 1;
    let joined = (natural[at] ?? "").trimStart();
    if (joined === "" || joined.startsWith("#") || joined.startsWith("!")) continue;
    while (endsOpen(joined) && at + 1 < natural.length) {
      at += 1;
      joined = joined.slice(0, -1) + (natural[at] ?? "").trimStart();
    }
    yield { text: endsOpen(joined) ? joined.slice(0, -1) : joined, line };
  }
}

const ESCAPES: Readonly<Record<string, string>> = { t: "\t", n: "\n", r: "\r", f: "\f" };

function unescaped(text: string): string {
  return text.replace(/\\(u[0-9a-fA-F]{4}|.)/gs, (_, escaped: string) =>
    escaped.length === 5
      ? String.fromCharCode(Number.parseInt(escaped.slice(1), 16))
      : (ESCAPES[escaped] ?? escaped),
  );
}

/** Where the key ends in an unescaped logical line. */
function keyEnd(text: string): number {
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at];
    if (character === "\\") at += 1;
    else if (character === "=" || character === ":" || /\s/.test(character ?? "")) return at;
  }
  return text.length;
}

export function parseProperties(text: string): PropertiesFile {
  const properties: Property[] = [];
  const warnings: { line: number; text: string }[] = [];
  for (const { text: logical, line } of logicalLines(text)) {
    const end = keyEnd(logical);
    const key = unescaped(logical.slice(0, end));
    const rawValue = logical.slice(end).replace(/^\s*[=:]?\s*/, "");
    const comment = /(^|\s+)#\s.*$/.exec(rawValue);
    if (comment !== null)
      warnings.push({
        line,
        text: `"${comment[0].trim()}" is taken as a comment, not as part of the value of ${key}; put comments on lines of their own`,
      });
    const kept = comment === null ? rawValue : rawValue.slice(0, comment.index);
    // Blanks at the end are part of a value in Java, and a trap: no key here means them.
    properties.push({ key, value: unescaped(kept).trim(), line });
  }
  return { properties, warnings };
}

const LINE_BREAKS = /[\n\r\t\f]/g;

function letterOf(character: string): string {
  return { "\n": "\\n", "\r": "\\r", "\t": "\\t" }[character] ?? "\\f";
}

/** A line of a site file that reads back as this key and value. */
export function formatProperty(key: string, value: string): string {
  const escapedKey = key
    .replace(/[\\=: #!]/g, (character) => `\\${character}`)
    .replace(LINE_BREAKS, letterOf);
  const escapedValue = value
    .replaceAll("\\", "\\\\")
    .replace(LINE_BREAKS, letterOf)
    .replace(/(^|\s)#(?=\s)/g, "$1\\u0023");
  return `${escapedKey}=${escapedValue}`;
}
