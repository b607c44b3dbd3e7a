/**
 * Reads the format of cockroachdb/datadriven, in which etcd's raft keeps its scripts:
 * ```
 * # a comment
 * command argument key=value key=(value, value)
 * input lines, if any
 * ----
 * expected output, until an empty line
 * ```
 * Output with empty lines in it stands between two pairs of `----` lines.
 * @module
 */

export type Directive = {
  /** Of the command, counted from 1. */
  readonly line: number;
  readonly command: string;
  /** Arguments without a value, in order. */
  readonly args: readonly string[];
  readonly options: ReadonlyMap<string, readonly string[]>;
  readonly input: string;
  readonly expected: string;
};

const SEPARATOR = "----";

export function parseDatadriven(text: string): readonly Directive[] {
  const lines = text.split("\n");
  const directives: Directive[] = [];
  let at = 0;
  const isSkipped = (line: string) => line.trim() === "" || line.startsWith("#");
  for (;;) {
    while (at < lines.length && isSkipped(lines[at] ?? "")) at += 1;
    if (at >= lines.length) return directives;
    const line = at + 1;
    const head = lines[at] ?? "";
    at += 1;
    const input: string[] = [];
    for (; at < lines.length && lines[at] !== SEPARATOR; at += 1) input.push(lines[at] ?? "");
    if (at >= lines.length) throw new Error(`Line ${line}: a command without ${SEPARATOR}`);
    at += 1;
    const output: string[] = [];
    if (lines[at] === SEPARATOR) {
      at += 1;
      for (; !(lines[at] === SEPARATOR && lines[at + 1] === SEPARATOR); at += 1) {
        if (at >= lines.length) throw new Error(`Line ${line}: output without an end`);
        output.push(lines[at] ?? "");
      }
      at += 2;
    } else for (; at < lines.length && lines[at] !== ""; at += 1) output.push(lines[at] ?? "");
    directives.push({
      line,
      ...parseHead(head),
      input: input.join("\n"),
      expected: output.join("\n"),
    });
  }
}

function parseHead(head: string): Pick<Directive, "command" | "args" | "options"> {
  const words = head.match(/[^\s=]+=\([^)]*\)|\S+/g) ?? [];
  const [command = "", ...rest] = words;
  const args: string[] = [];
  const options = new Map<string, readonly string[]>();
  for (const word of rest) {
    const [, key, list, single] = /^([\w-]+)=(?:\(([^)]*)\)|(.*))$/.exec(word) ?? [];
    if (key === undefined) args.push(word);
    else
      options.set(key, list === undefined ? [single ?? ""] : list.split(/[\s,]+/).filter(Boolean));
  }
  return { command, args, options };
}
