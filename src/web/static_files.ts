/**
 * The files of the web UI: read once, small, and served from memory, packed for browsers that take it.
 * @module
 */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import type { WebReply, WebRequest } from "./server.ts";

const CONTENT_TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  svg: "image/svg+xml",
};

type StaticFile = {
  readonly contentType: string;
  readonly bytes: Uint8Array;
  readonly packed: Uint8Array;
  readonly tag: string;
};

/**
 * What a page of ours may load: itself. `peers` are other processes of the cluster whose /leader an open page asks when this one is
 * gone.
 */
export function pagePolicy(peers: readonly string[]): string {
  const reachable = peers
    .filter((peer) => /^[\w.:[\]-]+$/.test(peer))
    .map((peer) => ` http://${peer}`);
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    `connect-src 'self'${reachable.join("")}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; ");
}

export class StaticFiles {
  readonly #files = new Map<string, StaticFile>();

  /** @param folder without it there is no UI, as in unit tests */
  constructor(folder: string) {
    if (!existsSync(folder)) return;
    for (const name of readdirSync(folder)) {
      const contentType = CONTENT_TYPES[name.slice(name.lastIndexOf(".") + 1)];
      if (contentType === undefined) continue;
      const bytes = readFileSync(`${folder}/${name}`);
      const tag = `"${createHash("sha256").update(bytes).digest("base64url").slice(0, 22)}"`;
      this.#files.set(name, { contentType, bytes, packed: gzipSync(bytes), tag });
    }
  }

  get isEmpty(): boolean {
    return this.#files.size === 0;
  }

  /** @param peers see {@link pagePolicy}. @returns null when there is no such file */
  reply(name: string, { headers }: WebRequest, peers: readonly string[]): WebReply | null {
    const file = this.#files.get(name);
    if (file === undefined) return null;
    const { contentType, tag } = file;
    const common = {
      etag: tag,
      // Asked for again each time: a new version is seen at once, and costs one small answer.
      "cache-control": "no-cache",
      vary: "accept-encoding",
      "content-security-policy": pagePolicy(peers),
    };
    if (headers["if-none-match"] === tag)
      return { status: 304, contentType, body: "", headers: common };
    const isPacked = /\bgzip\b/.test(String(headers["accept-encoding"] ?? ""));
    return {
      status: 200,
      contentType,
      body: isPacked ? file.packed : file.bytes,
      headers: { ...common, ...(isPacked ? { "content-encoding": "gzip" } : {}) },
    };
  }
}
