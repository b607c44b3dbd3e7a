import assert from "node:assert/strict";
import { test } from "node:test";
import { isRockpoolError } from "../common/errors.ts";
import {
  configuredMasters,
  parseAuthority,
  parseHostPort,
  parseUri,
  placeText,
  resolveMasters,
} from "./authority.ts";

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

const list = (...addresses: string[]) => ({ kind: "addresses", addresses }) as const;
const zookeeper = (connect: string) => ({ kind: "zookeeper", connect }) as const;

test("resolveMasters() looks a logical name up in the configuration", () => {
  const properties = new Map([
    ["alluxio.master.nameservices.c", "m1, m2"],
    ["alluxio.master.rpc.address.c.m1", "h1:19998"],
    ["alluxio.master.rpc.address.c.m2", "h2:19998"],
    ["alluxio.master.nameservices.bad", "m9"],
    ["alluxio.master.zookeeper.nameservices.c", "z1,z2"],
    ["alluxio.master.zookeeper.address.c.z1", "k1:2181"],
    ["alluxio.master.zookeeper.address.c.z2", "k2:2181"],
  ]);
  const read = (key: string) => properties.get(key);
  const resolve = (text: string) => resolveMasters(parseAuthority(text), list(), read);
  assert.deepEqual(resolve("ebj@c"), list("h1:19998", "h2:19998"));
  assert.deepEqual(resolve("zk@c"), zookeeper("k1:2181,k2:2181"));
  for (const [name, key] of [
    ["ebj@bad", "alluxio.master.rpc.address.bad.m9"],
    ["ebj@none", "alluxio.master.nameservices.none"],
    ["zk@none", "alluxio.master.zookeeper.nameservices.none"],
  ] as const)
    assert.throws(
      () => resolve(name),
      (error: unknown) => isRockpoolError(error, "INVALID_ARGUMENT") && error.remedy.includes(key),
    );
});

test("resolveMasters() takes the configured masters when the URI names none", () => {
  assert.deepEqual(resolveMasters({ kind: "none" }, list("a:1"), nothing), list("a:1"));
  assert.deepEqual(resolveMasters({ kind: "none" }, zookeeper("z:1"), nothing), zookeeper("z:1"));
  assert.throws(() => resolveMasters({ kind: "none" }, list(), nothing), /No master address/);
  assert.throws(
    () => resolveMasters(parseAuthority("my-cluster"), list("a:1"), nothing),
    /"my-cluster"/,
  );
});

test("S1-9 S1-28 ZooKeeper says where the masters are: by URI, or by the configuration", () => {
  for (const authority of ["zk@h1:2181,h2:2181", "zk@h1:2181;h2:2181", "zk@h1:2181+h2:2181"]) {
    const { authority: parsed, path } = parseUri(`alluxio://${authority}/path`);
    assert.equal(path, "/path");
    assert.deepEqual(resolveMasters(parsed, list("a:1"), nothing), zookeeper("h1:2181,h2:2181"));
  }
});

test("S1-29 S1-30 any host of an alluxio-ft URI is ignored", () => {
  for (const uri of ["alluxio-ft:///directory", "alluxio-ft://anything:1/directory"]) {
    const { authority, path } = parseUri(uri);
    assert.equal(path, "/directory");
    assert.deepEqual(resolveMasters(authority, zookeeper("z:2181"), nothing), zookeeper("z:2181"));
    assert.deepEqual(resolveMasters(authority, list("a:1"), nothing), list("a:1"));
  }
});

test("properties say where the configured masters are: ZooKeeper where it is enabled, or a list", () => {
  const place = (properties: Readonly<Record<string, string>>) =>
    placeText(configuredMasters((key) => properties[key]));
  const address = { "alluxio.zookeeper.address": " z1:2181,z2:2181/mine " };
  const list = { "alluxio.master.rpc.addresses": "h1:19998; h2:19998" };
  assert.equal(place({}), "");
  assert.equal(place({ ...address, ...list }), "h1:19998,h2:19998");
  assert.equal(place({ "alluxio.zookeeper.enabled": "TRUE", ...list }), "h1:19998,h2:19998");
  const enabled = { "alluxio.zookeeper.enabled": "TRUE", ...address, ...list };
  assert.equal(place(enabled), "zk@z1:2181,z2:2181/mine");
});
