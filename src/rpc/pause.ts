/**
 * Waiting that can be called off.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";

/**
 * Resolves after `timeMs`, or as soon as `enough` fires.
 * @throws RockpoolError CANCELLED when `signal` fires first
 */
export function pause(timeMs: number, signal?: AbortSignal, enough?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", settle);
      enough?.removeEventListener("abort", settle);
      if (signal?.aborted === true)
        reject(new RockpoolError("CANCELLED", "The call was cancelled"));
      else resolve();
    };
    const timer = setTimeout(settle, timeMs);
    if (signal?.aborted === true || enough?.aborted === true) return settle();
    signal?.addEventListener("abort", settle);
    enough?.addEventListener("abort", settle);
  });
}
