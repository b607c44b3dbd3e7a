/**
 * Log lines: what happened, in which part, with its facts.
 *
 * The parts know no logger; they report events, and the entry point hands them here. A line is either
 * text for people or one JSON object (pino's shape). Written synchronously: the last line before
 * a crash is the one that matters. How much of each part is written can be changed while the process runs.
 * @module
 */
import { pino } from "pino";
import { RockpoolError } from "../common/errors.ts";
import type { Clock } from "../world/ports.ts";

export const LEVELS = ["trace", "debug", "info", "warn", "error", "fatal"] as const;
export type Level = (typeof LEVELS)[number];
export type Fields = Readonly<Record<string, unknown>>;

export interface Logger {
  log(level: Level, part: string, message: string, fields?: Fields): void;
  /** Forces out what is buffered; call it before the process ends. */
  flush(): void;
}

export interface LevelControl {
  /** "root" first, then every part that has a logger, with the level in force. */
  levels(): ReadonlyMap<string, Level>;
  /**
   * Takes effect with the next line. "root" is the level of all parts that got none of their own.
   * @throws RockpoolError NOT_FOUND for a part that does not exist
   */
  setLevel(part: string, level: Level): void;
  /** A part that has not logged yet can be given a level too. */
  register(part: string): void;
}

export type LoggerOptions = {
  readonly format: "text" | "json";
  readonly level: Level;
  readonly clock: Clock;
  /** 1 for standard output. */
  readonly fileDescriptor: number;
};

/** Alluxio's tools say OFF, and any case. Null for what is none. */
export function parseLevel(text: string): Level | null {
  const lower = text.trim().toLowerCase();
  if (lower === "off") return "fatal";
  return LEVELS.find((level) => level === lower) ?? null;
}

class PartLevels implements LevelControl {
  #root: Level;
  readonly #own = new Map<string, Level>();
  readonly #parts = new Set<string>();
  /** Lines pass here; a rank is compared, not a name. */
  readonly #ranks = new Map<string, number>();

  constructor(root: Level) {
    this.#root = root;
  }

  levels(): ReadonlyMap<string, Level> {
    const parts = [...this.#parts].sort();
    return new Map([
      ["root", this.#root],
      ...parts.map((part): [string, Level] => [part, this.#own.get(part) ?? this.#root]),
    ]);
  }

  setLevel(part: string, level: Level): void {
    if (part.toLowerCase() === "root") this.#root = level;
    else if (this.#parts.has(part)) this.#own.set(part, level);
    else
      throw new RockpoolError(
        "NOT_FOUND",
        `Nothing logs as "${part}"`,
        `Use one of: ${[...this.levels().keys()].join(", ")}`,
      );
    this.#ranks.clear();
  }

  register(part: string): void {
    this.#parts.add(part);
  }

  isWritten(level: Level, part: string): boolean {
    let rank = this.#ranks.get(part);
    if (rank === undefined) {
      this.register(part);
      rank = LEVELS.indexOf(this.#own.get(part) ?? this.#root);
      this.#ranks.set(part, rank);
    }
    return LEVELS.indexOf(level) >= rank;
  }
}

/** A value as JSON can hold it: ids are bigint, errors have a stack. */
function plain(value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  if (value instanceof Error)
    return { name: value.name, message: value.message, stack: value.stack };
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (value instanceof Map) return [...value].map((pair) => pair.map(plain));
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === "object" && value !== null)
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, plain(inner)]));
  return value;
}

function textOf(value: unknown): string {
  if (value instanceof Error) return `\n${value.stack ?? value.message}`;
  if (typeof value === "string") return /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value);
  return typeof value === "object" ? JSON.stringify(plain(value)) : String(value);
}

/** One line of text: time (UTC), level, part, message, then the facts as name=value. */
export function formatLine(line: {
  readonly wallMs: number;
  readonly level: Level;
  readonly part: string;
  readonly message: string;
  readonly fields: Fields;
}): string {
  const time = new Date(line.wallMs).toISOString().replace("T", " ").replace("Z", "");
  const facts = Object.entries(line.fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => ` ${name}=${textOf(value)}`);
  return `${time} ${line.level.toUpperCase().padEnd(5)} ${line.part} ${line.message}${facts.join("")}\n`;
}

export function createLogger(options: LoggerOptions): Logger & { readonly levels: LevelControl } {
  const destination = pino.destination({ dest: options.fileDescriptor, sync: true });
  // Nobody reads the log any more, or its disk is full: worse than no log would be no service.
  destination.on("error", () => {});
  const flush = () => destination.flushSync();
  const levels = new PartLevels(options.level);
  if (options.format === "json") {
    const json = pino({ level: "trace", base: { pid: process.pid } }, destination);
    return {
      levels,
      log(level, part, message, fields = {}) {
        if (!levels.isWritten(level, part)) return;
        json[level]({ part, ...(plain(fields) as object) }, message); // plain() keeps an object an object
      },
      flush,
    };
  }
  return {
    levels,
    log(level, part, message, fields = {}) {
      if (!levels.isWritten(level, part)) return;
      const wallMs = options.clock.wallMs();
      destination.write(formatLine({ wallMs, level, part, message, fields }));
    },
    flush,
  };
}
