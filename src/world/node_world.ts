/**
 * The real world: Node's clocks, timers and random numbers.
 * @module
 */
import { randomBytes } from "node:crypto";
import type { World } from "./ports.ts";

export function nodeWorld(): World {
  return {
    clock: { monotonicMs: () => performance.now(), wallMs: () => Date.now() },
    random: { uint32: () => randomBytes(4).readUInt32LE(0) },
    timers: {
      after(delayMs, callback) {
        const timer = setTimeout(callback, delayMs);
        return { cancel: () => clearTimeout(timer) };
      },
      soon: (callback) => void setImmediate(callback),
    },
  };
}
