/**
 * What a value must survive: to be written and read again.
 * @module
 */
import { isDeepStrictEqual } from "node:util";

/** @throws Error, which is a finding, when the two differ */
export function mustEqual(again: unknown, value: unknown, what: string): void {
  if (!isDeepStrictEqual(again, value)) throw new Error(`${what} does not survive a round trip`);
}
