/**
 * Writes tar archives (POSIX ustar): enough for files of a few names. Pure.
 *
 * Every file: a header of 512 bytes, its bytes, zeros up to a multiple of 512. At the end 1024 zeros. In the header, as
 * text: name (at 0, 100 bytes), mode (100), owner and group (108, 116), length (124) and time (136) as octal digits,
 * sum of all header bytes (148), kind "0" (156), "ustar\0" "00" (257), and what comes before the name (345, 155 bytes).
 * @module
 */
import { RockpoolError } from "../common/errors.ts";

const BLOCK = 512;
const NAME_MAX = 100;
const PREFIX_MAX = 155;
const SUM_AT = 148;

/** A long path is parted at a slash. */
function split(path: string): readonly [prefix: string, name: string] {
  const bytes = (text: string) => Buffer.byteLength(text);
  if (bytes(path) <= NAME_MAX) return ["", path];
  for (let at = path.indexOf("/"); at > 0; at = path.indexOf("/", at + 1)) {
    const [prefix, name] = [path.slice(0, at), path.slice(at + 1)];
    if (bytes(name) <= NAME_MAX && bytes(prefix) <= PREFIX_MAX) return [prefix, name];
  }
  throw new RockpoolError("INVALID_ARGUMENT", `The path ${path} is too long for an archive`);
}

/** The header of a file, and what comes behind its bytes. @param modifiedSeconds since 1970 */
export function tarFrame(
  path: string,
  lengthBytes: number,
  modifiedSeconds: number,
): { readonly header: Uint8Array; readonly padding: Uint8Array } {
  const header = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, digits: number) =>
    header.write(`${Math.max(0, Math.floor(value)).toString(8).padStart(digits, "0")}\0`, at);
  const [prefix, name] = split(path);
  header.write(name, 0);
  octal(0o600, 100, 7);
  octal(0, 108, 7);
  octal(0, 116, 7);
  octal(lengthBytes, 124, 11);
  octal(modifiedSeconds, 136, 11);
  header.write(" ".repeat(8), SUM_AT);
  header.write("0", 156);
  header.write("ustar\0", 257);
  header.write("00", 263);
  header.write(prefix, 345);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, SUM_AT);
  return { header, padding: new Uint8Array((BLOCK - (lengthBytes % BLOCK)) % BLOCK) };
}

export const TAR_END = new Uint8Array(2 * BLOCK);
