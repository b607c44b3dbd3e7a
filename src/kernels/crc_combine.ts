/**
 * CRC-32C of two stretches from the CRCs of each: what is stored for pages becomes the checksum of a frame
 * without another look at the bytes.
 *
 * Appending n zero bytes to a message multiplies its register by x^(8n) modulo the polynomial, which is linear over GF(2): a
 * matrix of 32 columns. crc(AB) = crc(A) times that matrix for the length of B, plus crc(B) (the inversions at both ends
 * cancel out). Matrices of lengths that come again and again are kept.
 * @module
 */

const POLYNOMIAL = 0x82f63b78;
/** Frames have few lengths: whole ones, and what is left at the end of files. */
const KEPT_MAX = 64;

type Matrix = Uint32Array;

function times(matrix: Matrix, vector: number): number {
  let sum = 0;
  let rest = vector;
  for (let column = 0; rest !== 0; column++, rest >>>= 1)
    if (rest & 1) sum ^= matrix[column] as number; // a vector has 32 bits, a matrix 32 columns
  return sum >>> 0;
}

function product(left: Matrix, right: Matrix): Matrix {
  return right.map((column) => times(left, column));
}

/** One zero byte, from eight times one zero bit. */
function oneByte(): Matrix {
  const bit = new Uint32Array(32);
  bit[0] = POLYNOMIAL;
  for (let column = 1; column < 32; column++) bit[column] = 2 ** (column - 1);
  const two = product(bit, bit);
  const four = product(two, two);
  return product(four, four);
}

/** Joins checksums; one of these serves a whole thread. */
export class CrcJoiner {
  /** Powers[k] stands for 2^k zero bytes. */
  readonly #powers: Matrix[] = [oneByte()];
  readonly #kept = new Map<number, Matrix>();

  /** CRC-32C of A followed by B. @param lengthBytes of B */
  join(crcOfA: number, crcOfB: number, lengthBytes: number): number {
    return (times(this.#zeros(lengthBytes), crcOfA) ^ crcOfB) >>> 0;
  }

  #zeros(lengthBytes: number): Matrix {
    const known = this.#kept.get(lengthBytes);
    if (known !== undefined) return known;
    let matrix: Matrix | null = null;
    let rest = lengthBytes;
    for (let power = 0; rest > 0; power++, rest = Math.floor(rest / 2)) {
      const of = this.#power(power);
      if (rest % 2 === 1) matrix = matrix === null ? of : product(of, matrix);
    }
    const made = matrix ?? Uint32Array.from({ length: 32 }, (_, column) => 2 ** column);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size >= KEPT_MAX && oldest !== undefined) this.#kept.delete(oldest);
    this.#kept.set(lengthBytes, made);
    return made;
  }

  #power(exponent: number): Matrix {
    for (let known = this.#powers.length; known <= exponent; known++) {
      const before = this.#powers[known - 1] as Matrix; // at least one is always there
      this.#powers.push(product(before, before));
    }
    return this.#powers[exponent] as Matrix; // made right above
  }
}
