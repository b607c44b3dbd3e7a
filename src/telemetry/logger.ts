/**
 * Log lines: what happened, in which part, with its facts.
 *
 * The parts know no logger; they report events, and the entry point hands them here. A line is either
 * text for people or one JSON object (pino's shape). Written synchronously: the last line before
 * a crash is the one that matters.
 * @module
 */
import { pino } from "pino";
import type { Clock } from "../world/ports.ts";

export const LEVELS = ["trace", "debug", "info", "warn", "error", "fatal"] as const;
export type Level = (typeof LEVELS)[number];
export type Fields = Readonly<Record<string, unknown>>;

export interface Logger {
  log(level: Level, part: string, message: string, fields?: Fields): void;
  /** Forces out what is buffered; call it before the process ends. */
  flush(): void;
}

export type LoggerOptions = {
  readonly format: "text" | "json";
  readonly level: Level;
  readonly clock: Clock;
  /** 1 for standard output. */
  readonly fileDescriptor: number;
};

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

export function createLogger(options: LoggerOptions): Logger {
  const destination = pino.destination({ dest: options.fileDescriptor, sync: true });
  // Nobody reads the log any more, or its disk is full: worse than no log would be no service.
  destination.on("error", () => {});
  const flush = () => destination.flushSync();
  if (options.format === "json") {
    const json = pino({ level: options.level, base: { pid: process.pid } }, destination);
    return {
      log: (level, part, message, fields = {}) =>
        json[level]({ part, ...(plain(fields) as object) }, message), // plain() keeps an object an object
      flush,
    };
  }
  const least = LEVELS.indexOf(options.level);
  return {
    log(level, part, message, fields = {}) {
      if (LEVELS.indexOf(level) < least) return;
      const wallMs = options.clock.wallMs();
      destination.write(formatLine({ wallMs, level, part, message, fields }));
    },
    flush,
  };
}
