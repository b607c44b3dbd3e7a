/**
 * Tokens of edge clients: those of a file, and those that are signed with the cluster's secret.
 *
 * A file has a line for each token, and may have comments:
 *
 *     # who, what they may do, and the token: at least 16 characters without blanks
 *     reports  read   3c9f...
 *     uploads  write  b17a...
 *
 * A signed token says by itself whom it is for: `rp1.<base64url of JSON {user, write, expiresMs}>.<base64url of HMAC-SHA256>`.
 * The signature covers everything before its dot. Comparisons take the same time whatever the token.
 * @module
 */
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { RockpoolError } from "../common/errors.ts";

const TOKEN_LENGTH_MIN = 16;
const SIGNED_PREFIX = "rp1";
const USER = /^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,255}$/;

/** Whom a token is for. */
export type Bearer = {
  readonly user: string;
  readonly canWrite: boolean;
  /** Of a signed one: when its time is over. */
  readonly expiresMs?: number;
};

/** By the SHA-256 of the token, so that looking one up tells nothing about the others. */
export type TokenTable = ReadonlyMap<string, Bearer>;

const digest = (token: string) => createHash("sha256").update(token).digest("hex");

/** @throws RockpoolError INVALID_ARGUMENT, which names the line */
export function parseTokens(text: string, where: string): TokenTable {
  const table = new Map<string, Bearer>();
  for (const [at, line] of text.split("\n").entries()) {
    const words = line.trim().split(/\s+/);
    if (words[0] === "" || words[0]?.startsWith("#")) continue;
    const [user = "", right, token = ""] = words;
    const isLine = words.length === 3 && (right === "read" || right === "write");
    if (!isLine || !USER.test(user) || token.length < TOKEN_LENGTH_MIN)
      throw new RockpoolError(
        "INVALID_ARGUMENT",
        `Line ${at + 1} of ${where} is no token`,
        `Write "<user> read <token>" or "<user> write <token>", with a token of at least ${TOKEN_LENGTH_MIN} characters`,
      );
    table.set(digest(token), { user, canWrite: right === "write" });
  }
  return table;
}

export type TokenClaims = Bearer & { readonly expiresMs: number };

const macOf = (text: string, secret: Uint8Array) =>
  createHmac("sha256", secret).update(text).digest();

export function signToken({ user, canWrite, expiresMs }: TokenClaims, secret: Uint8Array): string {
  const claims = Buffer.from(JSON.stringify({ user, write: canWrite, expiresMs }));
  const text = `${SIGNED_PREFIX}.${claims.toString("base64url")}`;
  return `${text}.${macOf(text, secret).toString("base64url")}`;
}

/** Null when it is not one that was signed with this secret, or its time is over. */
export function verifyToken(token: string, secret: Uint8Array, nowMs: number): Bearer | null {
  const [prefix, claims = "", signature = "", ...rest] = token.split(".");
  if (prefix !== SIGNED_PREFIX || rest.length > 0) return null;
  const given = Buffer.from(signature, "base64url");
  const wanted = macOf(`${prefix}.${claims}`, secret);
  if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) return null;
  // Whoever has the secret made it.
  const { user, write, expiresMs } = JSON.parse(Buffer.from(claims, "base64url").toString()) as {
    user?: unknown;
    write?: unknown;
    expiresMs?: unknown;
  };
  if (typeof user !== "string" || !USER.test(user)) return null;
  if (typeof expiresMs !== "number" || expiresMs <= nowMs) return null;
  return { user, canWrite: write === true, expiresMs };
}

export type TokenRules = {
  readonly tokens: TokenTable;
  /** Null: no token is taken for signed. */
  readonly secret: Uint8Array | null;
  /** Who connects without a token; null: nobody. They only read. */
  readonly anonymousUser: string | null;
};

/** @throws RockpoolError UNAUTHENTICATED */
export function identify(token: string | null, rules: TokenRules, nowMs: number): Bearer {
  const { tokens, secret, anonymousUser } = rules;
  if (token === null) {
    if (anonymousUser !== null) return { user: anonymousUser, canWrite: false };
    throw new RockpoolError(
      "UNAUTHENTICATED",
      "The edge gateway takes nobody without a token",
      "Send a token of rockpool.edge.tokens.path, or let everybody read by rockpool.edge.anonymous.user",
    );
  }
  const known =
    tokens.get(digest(token)) ?? (secret === null ? null : verifyToken(token, secret, nowMs));
  if (known !== null) return known;
  throw new RockpoolError(
    "UNAUTHENTICATED",
    "The token is not known here, or its time is over",
    "Use a token of rockpool.edge.tokens.path, or one that is signed with the cluster's secret",
  );
}
