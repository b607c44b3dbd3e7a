/**
 * Durations and sizes as Alluxio writes them: "10s", "64MB".
 * Durations take ms, s/sec, m/min, h/hour, d/day (a bare number is milliseconds); sizes take B, KB, MB, GB, TB, PB
 * with a factor of 1024 (a bare number is bytes). Units are case-insensitive and may be preceded by blanks.
 * @module
 */
const DURATION_MS: ReadonlyMap<string, number> = new Map(
  Object.entries({
    "": 1,
    ms: 1,
    millisecond: 1,
    s: 1000,
    sec: 1000,
    second: 1000,
    m: 60_000,
    min: 60_000,
    minute: 60_000,
    h: 3_600_000,
    hr: 3_600_000,
    hour: 3_600_000,
    d: 86_400_000,
    day: 86_400_000,
  }),
);
const SIZE_BYTES: ReadonlyMap<string, number> = new Map(
  Object.entries({
    "": 1,
    b: 1,
    k: 1024,
    kb: 1024,
    m: 1024 ** 2,
    mb: 1024 ** 2,
    g: 1024 ** 3,
    gb: 1024 ** 3,
    t: 1024 ** 4,
    tb: 1024 ** 4,
    p: 1024 ** 5,
    pb: 1024 ** 5,
  }),
);

/** Beyond 2^53 the nearest safe integer is taken: such values mean "without limit". */
function parseWith(units: ReadonlyMap<string, number>, input: string): number | null {
  const match = /^\s*(-?\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i.exec(input);
  if (match === null) return null;
  const [, amount = "", unit = ""] = match;
  const lower = unit.toLowerCase();
  const factor = units.get(lower) ?? units.get(lower.replace(/s$/, ""));
  if (factor === undefined) return null;
  const value = Math.trunc(Number(amount) * factor);
  return Math.max(Number.MIN_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, value));
}

/** Milliseconds of a duration such as "10s"; null when the text is not one. */
export function parseDurationMs(input: string): number | null {
  return parseWith(DURATION_MS, input);
}

/** Bytes of a size such as "64MB"; null when the text is not one. */
export function parseSizeBytes(input: string): number | null {
  return parseWith(SIZE_BYTES, input);
}

const SIZE_NAMES = ["B", "KB", "MB", "GB", "TB", "PB"] as const;

/** A size as Alluxio's tools print it: two decimals and no blank, whole bytes without decimals. */
export function formatSize(sizeBytes: number): string {
  let value = sizeBytes;
  let unit = 0;
  // Alluxio goes to the next unit only beyond five of it: 4096 is "4096B", 6 KiB is "6.00KB".
  while (unit < SIZE_NAMES.length - 1 && Math.abs(value) > 5 * 1024) {
    value /= 1024;
    unit += 1;
  }
  return unit === 0 ? `${value}B` : `${value.toFixed(2)}${SIZE_NAMES[unit]}`;
}
