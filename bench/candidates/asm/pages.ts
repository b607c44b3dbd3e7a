/**
 * Multi-page verify: computes the checksums of pages and compares them with those that the host has put at `expected`.
 * @module
 */
import { crc32c } from "../../../asm/crc32c";

/** The first page that differs, or -1. */
export function firstDamagedPage(from: usize, length: usize, pageBytes: usize, expected: usize): i32 {
  let page: i32 = 0;
  for (let at: usize = 0; at < length; at += pageBytes) {
    const left = length - at;
    const crc = crc32c(from + at, left < pageBytes ? left : pageBytes, 0);
    if (crc != load<u32>(expected + (<usize>page << 2))) return page;
    page++;
  }
  return -1;
}
