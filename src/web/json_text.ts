/**
 * JSON with whole numbers beyond what JavaScript's own can hold: 64-bit ids are numbers on Alluxio's REST interface.
 * @module
 */
import { randomUUID } from "node:crypto";

/** Nobody outside knows it, so no text can pass for a number. */
const MARK = randomUUID();
const MARKED = new RegExp(`"${MARK}(-?\\d+)"`, "g");

export function jsonText(value: unknown): string {
  const text = JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === "bigint" ? `${MARK}${inner}` : inner,
  );
  return text.replace(MARKED, "$1");
}
