/**
 * What a command sees of the process it runs in: tests give it a console of their own.
 * @module
 */

export type Console = {
  /** Writes to standard output; resolves when there is room for more. */
  readonly out: (text: string | Uint8Array) => Promise<void>;
  readonly err: (text: string) => void;
  /** Whether a person reads standard output: colours, progress, questions. */
  readonly isTerminal: boolean;
  /** Asks on the terminal; null when nobody can answer. */
  readonly ask: ((question: string) => Promise<string>) | null;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Where the package lies: bin/, conf/, dist/. */
  readonly home: string;
  /** Aborted by Ctrl-C, with an {@link Interrupted}, and by a reader of our output that went away. */
  readonly signal: AbortSignal;
};

/** One line. */
export async function say(console: Console, line: string): Promise<void> {
  await console.out(`${line}\n`);
}

/** Exit codes of commands. A failed command is -1 to Alluxio, which a shell sees as 255. */
export const EXIT_FAILED = 255;
export const EXIT_OK = 0;
/** Ctrl-C came before it was done. */
export const EXIT_INTERRUPTED = 130;

/** Why a command ends: Ctrl-C. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";

  constructor() {
    super("interrupted");
  }
}

export function isInterrupted({ signal }: Console): boolean {
  return signal.reason instanceof Interrupted;
}

export function green(console: Console, text: string): string {
  return console.isTerminal ? `\u001b[32m${text}\u001b[0m` : text;
}

export function red(console: Console, text: string): string {
  return console.isTerminal ? `\u001b[31m${text}\u001b[0m` : text;
}
