import assert from "node:assert/strict";
import { test } from "node:test";
import { isRockpoolError } from "../common/errors.ts";
import { identify, parseTokens, signToken, verifyToken } from "./tokens.ts";

const SECRET = Buffer.alloc(32, 7);

test("parseTokens() takes lines of user, right and token, and names a line that is none", () => {
  const text = "# comment\n\nreports read 0123456789abcdef\n  up write  fedcba9876543210  \n";
  const tokens = parseTokens(text, "tokens");
  const rules = { tokens, secret: null, anonymousUser: null };
  assert.deepEqual(identify("0123456789abcdef", rules, 0), { user: "reports", canWrite: false });
  assert.deepEqual(identify("fedcba9876543210", rules, 0), { user: "up", canWrite: true });
  for (const bad of [
    "a read short",
    "a fly 0123456789abcdef",
    "a read",
    "-x read 0123456789abcdef",
  ])
    assert.throws(() => parseTokens(`# ok\n${bad}`, "tokens"), /Line 2 of tokens/);
});

test("identify() refuses unknown tokens, also where everybody may read without one", () => {
  const rules = { tokens: new Map(), secret: SECRET, anonymousUser: "guest" };
  assert.deepEqual(identify(null, rules, 0), { user: "guest", canWrite: false });
  for (const token of ["", "x", "rp1.e30.", "rp1..", "rp1.a.b.c"])
    assert.throws(
      () => identify(token, rules, 0),
      (error) => isRockpoolError(error, "UNAUTHENTICATED"),
    );
  assert.throws(() => identify(null, { ...rules, anonymousUser: null }, 0), /without a token/);
});

test("verifyToken() takes what signToken() made, until its time is over, and nothing that was changed", () => {
  const claims = { user: "ann", canWrite: true, expiresMs: 1000 };
  const token = signToken(claims, SECRET);
  assert.deepEqual(verifyToken(token, SECRET, 999), claims);
  assert.equal(verifyToken(token, SECRET, 1000), null);
  assert.equal(verifyToken(token, Buffer.alloc(32, 8), 999), null);
  for (let at = 0; at < token.length - 1; at++) {
    const other = token[at] === "A" ? "B" : "A";
    const changed = token.slice(0, at) + other + token.slice(at + 1);
    assert.equal(verifyToken(changed, SECRET, 999), null, `changed at ${at}`);
  }
});
