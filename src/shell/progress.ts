/**
 * How far a copy is: a line on the terminal that rewrites itself once the copy takes over a second.
 * @module
 */
import { formatSize } from "../common/units.ts";
import type { Console } from "./console.ts";

const SHOW_AFTER_MS = 1000;
const REDRAW_MS = 200;
const BAR_WIDTH = 30;

/** The line itself. `totalBytes` 0: not known yet. Pure. */
export function progressLine(state: {
  readonly doneBytes: number;
  readonly totalBytes: number;
  readonly elapsedMs: number;
}): string {
  const { doneBytes, totalBytes, elapsedMs } = state;
  const share = totalBytes === 0 ? 0 : Math.min(1, doneBytes / totalBytes);
  const filled = Math.floor(share * BAR_WIDTH);
  const bar = `${"#".repeat(filled)}${" ".repeat(BAR_WIDTH - filled)}`;
  const perSecond = elapsedMs <= 0 ? 0 : Math.round((doneBytes * 1000) / elapsedMs);
  const percent = String(Math.floor(share * 100)).padStart(3);
  return `[${bar}] ${percent}%  ${formatSize(doneBytes)} of ${formatSize(totalBytes)}  ${formatSize(perSecond)}/s`;
}

export class Progress {
  readonly #console: Console;
  readonly #startedMs = performance.now();
  #drawnMs = 0;
  #isDrawn = false;
  #doneBytes = 0;
  #totalBytes = 0;

  constructor(console: Console) {
    this.#console = console;
  }

  expect(bytes: number): void {
    this.#totalBytes += bytes;
  }

  add(bytes: number): void {
    this.#doneBytes += bytes;
    if (!this.#console.isTerminal) return;
    const now = performance.now();
    const elapsedMs = now - this.#startedMs;
    if (elapsedMs < SHOW_AFTER_MS || now - this.#drawnMs < REDRAW_MS) return;
    this.#drawnMs = now;
    this.#isDrawn = true;
    const line = progressLine({
      doneBytes: this.#doneBytes,
      totalBytes: this.#totalBytes,
      elapsedMs,
    });
    this.#console.err(`\r\u001b[K${line}`);
  }

  /** Takes the line away, so that other output starts on a clean one. */
  clear(): void {
    if (this.#isDrawn) this.#console.err("\r\u001b[K");
    this.#isDrawn = false;
  }
}
