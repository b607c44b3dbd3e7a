import assert from "node:assert/strict";
import { test } from "node:test";
import { isRockpoolError } from "../common/errors.ts";
import { parseAuthority, parseHostPort, parseUri, resolveMasters } from "./authority.ts";

const nothing = () => undefined;

test("parseAuthority() understands every form", () => {
  const masters = (...addresses: string[]) => ({ kind: "masters", addresses });
  const cases: readonly [string, unknown][] = [
    ["", { kind: "none" }],
    ["m1:19998", masters("m1:19998")],
    ["m1:19998,m2:19998,m3:19998", masters("m1:19998", "m2:19998", "m3:19998")],
    ["m1:19998, m2:19998,m3:19998", masters("m1:19998", "m2:19998", "m3:19998")],
    ["m1:19998;m2:19998;m3:19998", masters("m1:19998", "m2:19998", "m3:19998")],
    ["a:1+b:2", masters("a:1", "b:2")],
    ["a:1,a:1", masters("a:1")],
    ["[::1]:19998", masters("[::1]:19998")],
    ["ebj@my-alluxio-cluster", { kind: "logical", name: "my-alluxio-cluster" }],
    ["zk@z1:2181,z2:2181", { kind: "zookeeper", addresses: ["z1:2181", "z2:2181"] }],
    ["zk@name", { kind: "zookeeperLogical", name: "name" }],
    ["my-cluster", { kind: "unknown", text: "my-cluster" }],
    ["m1:0", { kind: "unknown", text: "m1:0" }],
    ["m1:70000", { kind: "unknown", text: "m1:70000" }],
    ["m1:19998,m2", { kind: "unknown", text: "m1:19998,m2" }],
    ["ebj@", { kind: "unknown", text: "ebj@" }],
  ];
  for (const [text, expected] of cases) assert.deepEqual(parseAuthority(text), expected, text);
});

test("parseHostPort() refuses what is not host:port", () => {
  for (const text of [
    "",
    "host",
    ":1",
    "host:",
    "host:x",
    "host:0",
    "host:65536",
    "a b:1",
    "::1:19998",
  ])
    assert.equal(parseHostPort(text), null, text);
});

test("parseUri() splits scheme, authority and path", () => {
  const cases: readonly [string, string, string, string][] = [
    ["/a/b", "", "none", "/a/b"],
    ["alluxio:///a", "alluxio", "none", "/a"],
    ["alluxio://h:1", "alluxio", "masters", "/"],
    ["alluxio://h1:1, h2:2/a b", "alluxio", "masters", "/a b"],
    ["ALLUXIO://h:1/a", "alluxio", "masters", "/a"],
    ["alluxio-ft://anything/x", "alluxio-ft", "none", "/x"],
    ["file:///x/y", "file", "none", "/x/y"],
    ["file:/x", "file", "none", "/x"],
    ["a:b", "", "none", "a:b"],
    ["", "", "none", "/"],
  ];
  for (const [text, scheme, kind, path] of cases) {
    const uri = parseUri(text);
    assert.deepEqual([uri.scheme, uri.authority.kind, uri.path], [scheme, kind, path], text);
  }
});

test("resolveMasters() looks a logical name up in the configuration", () => {
  const properties = new Map([
    ["alluxio.master.nameservices.c", "m1, m2"],
    ["alluxio.master.rpc.address.c.m1", "h1:19998"],
    ["alluxio.master.rpc.address.c.m2", "h2:19998"],
    ["alluxio.master.nameservices.bad", "m9"],
  ]);
  const read = (key: string) => properties.get(key);
  assert.deepEqual(resolveMasters(parseAuthority("ebj@c"), [], read), ["h1:19998", "h2:19998"]);
  assert.throws(
    () => resolveMasters(parseAuthority("ebj@bad"), [], read),
    (error: unknown) =>
      isRockpoolError(error, "INVALID_ARGUMENT") &&
      error.remedy.includes("alluxio.master.rpc.address.bad.m9"),
  );
  assert.throws(
    () => resolveMasters(parseAuthority("ebj@none"), [], read),
    (error: unknown) =>
      isRockpoolError(error) && error.remedy.includes("alluxio.master.nameservices.none"),
  );
});

test("resolveMasters() takes the configured masters when the URI names none", () => {
  assert.deepEqual(resolveMasters({ kind: "none" }, ["a:1"], nothing), ["a:1"]);
  assert.throws(() => resolveMasters({ kind: "none" }, [], nothing), /No master address/);
});

test("resolveMasters() says what is not supported and what to write instead", () => {
  const unsupported = parseAuthority("zk@z1:2181");
  assert.throws(
    () => resolveMasters(unsupported, ["a:1"], nothing),
    (error: unknown) => isRockpoolError(error, "UNIMPLEMENTED") && /z1:2181/.test(error.message),
  );
  assert.throws(
    () => resolveMasters(parseAuthority("my-cluster"), ["a:1"], nothing),
    /"my-cluster"/,
  );
});
