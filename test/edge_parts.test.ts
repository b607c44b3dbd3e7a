import assert from "node:assert/strict";
import { test } from "node:test";
import { edgeRefusal } from "../src/edge_gateway.ts";

const HOSTS = ["m1.example.com"];

test("edgeRefusal() takes programs, own pages and those that are allowed, under known names alone", () => {
  const host = "m1.example.com:19999";
  assert.equal(edgeRefusal({ host }, [], HOSTS), null);
  assert.equal(edgeRefusal({ host: "10.0.0.7:19999" }, [], HOSTS), null);
  assert.equal(edgeRefusal({ host, origin: `http://${host}` }, [], HOSTS), null);
  const origin = "https://app.example.com";
  assert.match(edgeRefusal({ host, origin }, [], HOSTS) ?? "", /may not connect/);
  assert.match(edgeRefusal({ host, origin: "null" }, [], HOSTS) ?? "", /may not connect/);
  assert.equal(edgeRefusal({ host, origin }, [origin], HOSTS), null);
  assert.equal(edgeRefusal({ host, origin }, ["*"], HOSTS), null);
  assert.match(edgeRefusal({ host: "evil.example.net" }, ["*"], HOSTS) ?? "", /Nobody told/);
  assert.match(edgeRefusal({}, ["*"], HOSTS) ?? "", /no host/);
});
