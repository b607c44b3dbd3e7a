/**
 * CRC-32C (Castagnoli) and the scans that need it.
 *
 * WebAssembly has no carry-less multiplication, and tables are bound by one load a byte. So most bytes are
 * *eliminated* instead (the idea is Chorba's: K. Chauhan and S. Russell, "Chorba: A novel CRC32 implementation", 2024).
 * A CRC is the remainder of the message by P, hence adding multiples of P does not change it. This one has only six terms:
 *
 *     M(x) = x^209 + x^144 + x^54 + x^39 + x^14 + 1        (the sparsest small multiple of 0x1EDC6F41)
 *
 * and M(x)^(2^k) = M(x^(2^k)) over GF(2), so it holds for words of 1, 2, 4, 8 or 16 bytes as it does for bits. Adding
 * v[i] times M, shifted to word i, clears word i and changes five later words. Written from the receiving end:
 *
 *     w[i] = v[i] ^ w[i-65] ^ w[i-155] ^ w[i-170] ^ w[i-195] ^ w[i-209]
 *
 * All but the last 209 words vanish, with loads and exclusive-ors alone; narrower words and then tables do the rest.
 * The register's start value is added to the first four bytes, so a CRC continues where another ended.
 *
 * Memory (the only import, made by the host; one instance and one memory a thread; no heap):
 *
 *     0x00000   4 KiB  unused, so that address 0 is nobody's
 *     0x01000  16 KiB  TABLES: 16 tables of 256 u32, table k for a byte with k bytes after it
 *     0x05000  24 KiB  WORK: history of 209 words | window of 16 KiB being eliminated | zeros for what comes after
 *     0x0b000   4 KiB  TAIL_WIDE: 209 words of 16 bytes that elimination left
 *     0x0c000   2 KiB  TAIL_NARROW: 209 words of 2 bytes
 *     0x0c800   2 KiB  SCAN: count of records, why the scan ended
 *     0x0d000  12 KiB  RESULTS: 3072 u32, page CRCs or offsets of records
 *     0x10000 128 KiB  COPY_IN: the host puts bytes here that lie elsewhere
 *     0x30000          ARENA: the host's, up to the end of memory
 *
 * Results are u32, which the host sees signed. Memory never grows.
 * @module
 */

const TABLES: usize = 0x01000;
const WORK: usize = 0x05000;
const TAIL_WIDE: usize = 0x0b000;
const TAIL_NARROW: usize = 0x0c000;
const SCAN: usize = 0x0c800;
const RESULTS: usize = 0x0d000;

const POLYNOMIAL: u32 = 0x82f63b78;
/** The degree of M: words that elimination leaves. */
const HISTORY_WORDS: usize = 209;
const WINDOW_BYTES: usize = 16384;
/** Shorter input goes faster by narrower words, and below the second by tables alone (measured). */
const WIDE_BYTES_MIN: usize = 16384;
const NARROW_BYTES_MIN: usize = 768;

const RECORD_HEADER_BYTES: usize = 28;
const RECORD_CRC_OFFSET: usize = 24;
const SCAN_COMPLETE: u32 = 0;
const SCAN_TORN: u32 = 1;
const SCAN_DAMAGED: u32 = 2;
const SCAN_FULL: u32 = 3;

/** Fills the tables. Call once, before anything else. */
export function init(): void {
  for (let byte: u32 = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (POLYNOMIAL & (0 - (crc & 1)));
    store<u32>(TABLES + (byte << 2), crc);
  }
  for (let at = TABLES + 0x400; at < TABLES + 0x4000; at += 4) {
    const before = load<u32>(at - 0x400);
    store<u32>(at, (before >>> 8) ^ table(0, before & 0xff));
  }
}

function table(k: usize, byte: u32): u32 {
  return load<u32>(TABLES + (k << 10) + (byte << 2));
}

/** Four bytes of which the last has `after` bytes after it. */
function sliced(after: usize, word: u32): u32 {
  return (
    table(after + 3, word & 0xff) ^
    table(after + 2, (word >>> 8) & 0xff) ^
    table(after + 1, (word >>> 16) & 0xff) ^
    table(after, word >>> 24)
  );
}

/** Advances the register (not inverted) by tables, 16 bytes a turn. */
function byTables(from: usize, length: usize, register: u32): u32 {
  const end = from + length;
  let crc = register;
  let at = from;
  for (const end16 = from + (length & ~15); at < end16; at += 16) {
    crc =
      sliced(12, load<u32>(at) ^ crc) ^
      sliced(8, load<u32>(at, 4)) ^
      sliced(4, load<u32>(at, 8)) ^
      sliced(0, load<u32>(at, 12));
  }
  for (const end4 = from + (length & ~3); at < end4; at += 4) crc = sliced(0, load<u32>(at) ^ crc);
  for (; at < end; at++) crc = (crc >>> 8) ^ table(0, (crc ^ load<u8>(at)) & 0xff);
  return crc;
}

/** What earlier words of type T leave in the 16 bytes at `at` of the window. */
function eliminated<T>(at: usize): v128 {
  return v128.xor(
    v128.xor(
      v128.xor(v128.load(at - 65 * sizeof<T>()), v128.load(at - 155 * sizeof<T>())),
      v128.xor(v128.load(at - 170 * sizeof<T>()), v128.load(at - 195 * sizeof<T>())),
    ),
    v128.load(at - 209 * sizeof<T>()),
  );
}

/**
 * Eliminates `length` bytes (a multiple of 16, more than 0) as words of type T, and writes the 209 words after
 * them, with what they received, to `tail`.
 */
function eliminate<T>(from: usize, length: usize, register: u32, tail: usize): void {
  const history = HISTORY_WORDS * sizeof<T>();
  // Stores are what must not straddle cache lines.
  const window = WORK + ((history + 63) & ~63);
  memory.fill(window - history, 0, history);
  let carry = i32x4.replace_lane(i32x4.splat(0), 0, register);
  let source = from;
  let left = length;
  let at = window;
  while (true) {
    const end = window + (left < WINDOW_BYTES ? left : WINDOW_BYTES);
    v128.store(window, v128.xor(v128.xor(v128.load(source), carry), eliminated<T>(window)));
    carry = i32x4.splat(0);
    at = window + 16;
    source += 16;
    for (; at + 64 <= end; at += 64, source += 64) {
      v128.store(at, v128.xor(v128.load(source), eliminated<T>(at)));
      v128.store(at, v128.xor(v128.load(source, 16), eliminated<T>(at + 16)), 16);
      v128.store(at, v128.xor(v128.load(source, 32), eliminated<T>(at + 32)), 32);
      v128.store(at, v128.xor(v128.load(source, 48), eliminated<T>(at + 48)), 48);
    }
    for (; at < end; at += 16, source += 16)
      v128.store(at, v128.xor(v128.load(source), eliminated<T>(at)));
    left -= end - window;
    if (left == 0) break;
    memory.copy(window - history, end - history, history);
  }
  memory.fill(at, 0, history);
  let done: usize = 0;
  for (; done < (history & ~15); done += 16)
    v128.store(tail + done, v128.xor(v128.load(source + done), eliminated<T>(at + done)));
  for (; done < history; done += sizeof<T>()) {
    const word = at + done;
    const received =
      load<u16>(word - 65 * sizeof<T>()) ^
      load<u16>(word - 155 * sizeof<T>()) ^
      load<u16>(word - 170 * sizeof<T>()) ^
      load<u16>(word - 195 * sizeof<T>()) ^
      load<u16>(word - 209 * sizeof<T>());
    // Words wider than 2 bytes fill whole vectors, so only 2-byte words come here.
    store<u16>(tail + done, load<u16>(source + done) ^ received);
  }
}

/** Advances the register by words of 2 bytes, then tables. `length` is at least NARROW_BYTES_MIN. */
function byNarrowWords(from: usize, length: usize, register: u32): u32 {
  const kept = HISTORY_WORDS * 2;
  const gone = (length - kept) & ~15;
  eliminate<u16>(from, gone, register, TAIL_NARROW);
  return byTables(from + gone + kept, length - gone - kept, byTables(TAIL_NARROW, kept, 0));
}

/** Advances the register by words of 16 bytes, then narrower ones. `length` is at least WIDE_BYTES_MIN. */
function byWideWords(from: usize, length: usize, register: u32): u32 {
  const kept = HISTORY_WORDS * 16;
  const gone = (length - kept) & ~63;
  eliminate<v128>(from, gone, register, TAIL_WIDE);
  return byTables(from + gone + kept, length - gone - kept, byNarrowWords(TAIL_WIDE, kept, 0));
}

/** CRC-32C of `length` bytes. `seed` is 0, or the CRC of what came before. */
export function crc32c(from: usize, length: usize, seed: u32): u32 {
  if (length >= WIDE_BYTES_MIN) return ~byWideWords(from, length, ~seed);
  if (length >= NARROW_BYTES_MIN) return ~byNarrowWords(from, length, ~seed);
  return ~byTables(from, length, ~seed);
}

/** Writes the CRC of each page (the last may be short) to RESULTS; the host asks for at most 3072. Returns their count. */
export function pageCrcs(from: usize, length: usize, pageBytes: usize): u32 {
  const end = from + length;
  let count: u32 = 0;
  for (let at = from; at < end; at += pageBytes) {
    const left = end - at;
    store<u32>(RESULTS + (count << 2), crc32c(at, left < pageBytes ? left : pageBytes, 0));
    count++;
  }
  return count;
}

/**
 * Walks journal records (header of 28 bytes, drawn in src/kernels/kernels.ts) and verifies each. Writes their offsets to
 * RESULTS, at most `countMax` (the host asks for at most 3072), and to SCAN their count and why it stopped.
 * Returns the bytes of the valid ones.
 */
export function scanRecords(from: usize, length: usize, countMax: u32): usize {
  let valid: usize = 0;
  let count: u32 = 0;
  let end = SCAN_COMPLETE;
  while (valid < length) {
    if (count == countMax) {
      end = SCAN_FULL;
      break;
    }
    const left = length - valid;
    const header = from + valid;
    // In this order: the length may be read only if the header is there.
    if (left < RECORD_HEADER_BYTES || <usize>load<u32>(header) > left - RECORD_HEADER_BYTES) {
      end = SCAN_TORN;
      break;
    }
    const payloadBytes = <usize>load<u32>(header);
    const crc = crc32c(header + RECORD_HEADER_BYTES, payloadBytes, crc32c(header, RECORD_CRC_OFFSET, 0));
    if (crc != load<u32>(header + RECORD_CRC_OFFSET)) {
      end = SCAN_DAMAGED;
      break;
    }
    store<u32>(RESULTS + (count << 2), <u32>valid);
    count++;
    valid += RECORD_HEADER_BYTES + payloadBytes;
  }
  store<u32>(SCAN, count);
  store<u32>(SCAN, end, 4);
  return valid;
}
