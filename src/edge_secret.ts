/**
 * Files that edge gateways and workers share: read when they are needed, and again when they changed.
 * @module
 */
import { readFileSync, statSync } from "node:fs";
import { messageOf, RockpoolError } from "./common/errors.ts";
import type { Configuration } from "./conf/configuration.ts";
import { EdgeKeys } from "./conf/edge_keys.ts";

const SECRET_BYTES_MIN = 32;

/** A file that is read again when it changed. */
export class WatchedFile<T> {
  readonly #path: string;
  readonly #parse: (bytes: Buffer) => T;
  #stamp = "";
  #value: T | null = null;

  constructor(path: string, parse: (bytes: Buffer) => T) {
    this.#path = path;
    this.#parse = parse;
  }

  /** @throws RockpoolError FAILED_PRECONDITION when it cannot be read; what parsing throws */
  get(): T {
    try {
      const { mtimeMs, size, ino } = statSync(this.#path);
      const stamp = `${mtimeMs} ${size} ${ino}`;
      if (this.#value === null || stamp !== this.#stamp) {
        this.#value = this.#parse(readFileSync(this.#path));
        this.#stamp = stamp;
      }
      return this.#value;
    } catch (error) {
      if (error instanceof RockpoolError) throw error;
      throw new RockpoolError(
        "FAILED_PRECONDITION",
        `Cannot read ${this.#path}: ${messageOf(error)}`,
        "Make the file readable for the user that runs this process",
      );
    }
  }
}

/** The cluster's secret, when there is one. */
export function edgeSecret(configuration: Configuration): (() => Uint8Array) | null {
  const path = configuration.get(EdgeKeys.edgeSecretPath);
  if (path === null) return null;
  const file = new WatchedFile<Uint8Array>(path, (bytes) => {
    const secret = Buffer.from(bytes.toString("latin1").trim(), "latin1");
    if (secret.length >= SECRET_BYTES_MIN) return secret;
    throw new RockpoolError(
      "INVALID_ARGUMENT",
      `The secret in ${path} has ${secret.length} bytes, fewer than ${SECRET_BYTES_MIN}`,
      "Make one with: head -c 48 /dev/urandom | base64",
    );
  });
  return () => file.get();
}
