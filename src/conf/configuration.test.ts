import assert from "node:assert/strict";
import { test } from "node:test";
import { isRockpoolError } from "../common/errors.ts";
import {
  electionTimes,
  journalMembership,
  masterRpcAddresses,
  requireOneTier,
  rootUnderStore,
} from "./cluster.ts";
import { createConfiguration, type Layer, type Source } from "./configuration.ts";
import {
  ALL_KEYS,
  editDistance,
  isKnownName,
  isSecretName,
  knownNames,
  nearestName,
} from "./keys.ts";
import { MasterKeys } from "./master_keys.ts";
import { namesWithoutEffect } from "./standings.ts";
import { UserKeys } from "./user_keys.ts";
import { TIER_KEYS, WorkerKeys } from "./worker_keys.ts";

function layer(source: Source, values: Readonly<Record<string, string>>): Layer {
  const assignments = Object.entries(values).map(([name, value]) => ({
    name,
    value,
    origin: `site:${name.length}`,
  }));
  return { source, assignments };
}
const site = (values: Readonly<Record<string, string>>) =>
  createConfiguration([layer("SITE_PROPERTY", values)]);

test("createConfiguration() gives every key of the tables its default when nothing is set", () => {
  const configuration = createConfiguration([]);
  assert.equal(configuration.get(MasterKeys.rpcPort), 19998);
  assert.equal(configuration.get(MasterKeys.hostname), null);
  assert.equal(configuration.get(MasterKeys.journalFolder), "/opt/alluxio/journal");
  assert.equal(configuration.get(WorkerKeys.heartbeatTimeout), 3_600_000);
  assert.deepEqual(configuration.get(TIER_KEYS[0]?.quota ?? assert.fail()), [1024 ** 3]);
  assert.deepEqual(configuration.warnings, []);
  assert.equal(configuration.entries().length, ALL_KEYS.length);
});

test("createConfiguration() lets the first layer win and names its source", () => {
  const configuration = createConfiguration([
    layer("SYSTEM_PROPERTY", { "alluxio.master.rpc.port": "1" }),
    layer("SITE_PROPERTY", { "alluxio.master.rpc.port": "2", "alluxio.master.web.port": "3" }),
  ]);
  assert.equal(configuration.get(MasterKeys.rpcPort), 1);
  assert.equal(configuration.get(MasterKeys.webPort), 3);
  assert.equal(configuration.source("alluxio.master.rpc.port"), "SYSTEM_PROPERTY");
  assert.equal(configuration.source("alluxio.master.web.port"), "SITE_PROPERTY");
  assert.equal(configuration.source("alluxio.worker.rpc.port"), "DEFAULT");
});

test("createConfiguration() takes an alias unless the key itself is set in the same layer", () => {
  const alias = { "alluxio.master.port": "5" };
  assert.equal(site(alias).get(MasterKeys.rpcPort), 5);
  assert.equal(site({ "alluxio.master.rpc.port": "6", ...alias }).get(MasterKeys.rpcPort), 6);
  assert.equal(site({ ...alias, "alluxio.master.rpc.port": "6" }).get(MasterKeys.rpcPort), 6);
});

test("createConfiguration() replaces references, of names it does not know too", () => {
  const configuration = site({
    "alluxio.work.dir": `/data/\${my.cluster}`,
    "my.cluster": "blue",
    "alluxio.master.journal.folder": `\${alluxio.work.dir}/j`,
  });
  assert.equal(configuration.get(MasterKeys.journalFolder), "/data/blue/j");
  assert.equal(configuration.text("alluxio.master.metastore.dir"), "/data/blue/metastore");
});

test("createConfiguration() refuses circles and references without a value", () => {
  assert.throws(
    () => site({ "alluxio.work.dir": `\${alluxio.logs.dir}` }),
    /refers to itself: .*alluxio.work.dir → alluxio.logs.dir → alluxio.work.dir/,
  );
  assert.throws(() => site({ "alluxio.work.dir": `\${no.such}` }), /\$\{no\.such\} has no value/);
});

test("createConfiguration() refuses references that would fill the memory", () => {
  const links = Array.from({ length: 18 }, (_, at) => [`my.${at}`, `\${my.${at + 1}}`.repeat(10)]);
  const chain = { ...Object.fromEntries(links), "my.18": "x" };
  assert.throws(
    () => site({ ...chain, "alluxio.work.dir": `\${my.0}` }),
    /refers to more than 1000 values/,
  );
  assert.throws(
    () => site({ "my.0": "x".repeat(1000), "alluxio.work.dir": `\${my.0}`.repeat(100) }),
    /longer than 65536 characters/,
  );
  assert.equal(site({ ...chain }).text("my.0"), null);
});

test("what refers to a secret is as secret as that", () => {
  const configuration = site({
    "s3a.secretKey": "hush",
    "alluxio.user.app.id": `x\${s3a.secretKey}`,
  });
  const shown = configuration.entries().find(({ key }) => key === "alluxio.user.app.id");
  assert.deepEqual([shown?.value, configuration.text("alluxio.user.app.id")], ["******", "xhush"]);
  assert.throws(
    () => site({ "s3a.secretKey": "hush", "alluxio.master.rpc.port": `\${s3a.secretKey}` }),
    (error) => error instanceof Error && !error.message.includes("hush"),
  );
});

test("createConfiguration() says all that is wrong at once, with the form that is expected", () => {
  assert.throws(
    () =>
      site({
        "alluxio.master.rpc.port": "70000",
        "alluxio.user.block.size.bytes.default": "big",
        "s3a.secretKey": "x",
      }),
    (error) =>
      isRockpoolError(error, "INVALID_ARGUMENT") &&
      /Bad value "70000" of alluxio.master.rpc.port \(site:23\): expected a port/.test(
        error.message,
      ) &&
      /Bad value "big" of alluxio.user.block.size.bytes.default .*such as 512B/.test(error.message),
  );
});

test("createConfiguration() warns of unknown names under its own roots with the nearest known one", () => {
  const { warnings } = site({
    "alluxio.master.hostnme": "m1",
    "alluxio.master.rocks.nonsense.of.mine": "1",
    "fs.whatever": "x",
    "alluxio.fuse.web.enabled": "true",
    "alluxio.master.nameservices.blue": "a,b",
  });
  assert.equal(warnings.length, 2);
  assert.match(
    warnings[0] ?? "",
    /alluxio\.master\.hostnme .*did you mean alluxio\.master\.hostname\?/,
  );
});

test("isKnownName() knows every key, every alias and every name of Alluxio", () => {
  assert.equal(knownNames().length > 861, true);
  for (const name of knownNames()) assert.equal(isKnownName(name), true, name);
  for (const name of [
    "alluxio.fuse.web.port",
    "alluxio.work.dir",
    "alluxio.worker.web.port",
    "fs.swift.user",
  ])
    assert.equal(isKnownName(name), true, name);
  assert.equal(isKnownName("alluxio.work.dirs"), false);
});

test("names without a table have Alluxio's default, and are said to be without effect when set", () => {
  const configuration = site({ "alluxio.fuse.web.port": "1", "alluxio.user.app.id": "x" });
  assert.equal(configuration.text("alluxio.master.ttl.checker.interval"), "1hour");
  assert.equal(configuration.text("alluxio.user.logs.dir"), "/opt/alluxio/logs/user");
  assert.equal(
    configuration.text("alluxio.underfs.web.header.last.modified"),
    "EEE, dd MMM yyyy HH:mm:ss zzz",
  );
  assert.equal(configuration.text("alluxio.fuse.web.hostname"), null);
  assert.deepEqual(namesWithoutEffect(configuration), [
    "alluxio.fuse.web.port",
    "alluxio.user.app.id",
  ]);
  assert.deepEqual(configuration.warnings, []);
});

test("every default of the tables is of its type", () => {
  const configuration = createConfiguration([]);
  for (const spec of ALL_KEYS)
    assert.equal(configuration.get(spec) === null, spec.defaultText === null, spec.key);
});

test("entries() masks secrets", () => {
  const configuration = site({ "s3a.secretKey": "hush", "fs.swift.password": "hush2" });
  const shown = JSON.stringify(configuration.entries());
  assert.equal(shown.includes("hush"), false);
  assert.equal(configuration.text("s3a.secretKey"), "hush");
  assert.equal(isSecretName("alluxio.web.cors.allow.credential"), false);
  assert.equal(isSecretName("fs.obs.accessKey"), true);
});

test("withPrefix() finds what a template names", () => {
  const configuration = site({
    "alluxio.master.rpc.address.c.m1": "h1:1",
    "alluxio.master.rpc.address.c.m2": "h2:2",
  });
  assert.deepEqual(
    [...configuration.withPrefix("alluxio.master.rpc.address.c.")],
    [
      ["m1", "h1:1"],
      ["m2", "h2:2"],
    ],
  );
});

test("class names of Alluxio are taken by their last part", () => {
  const configuration = site({
    "alluxio.user.block.write.location.policy.class":
      "alluxio.client.block.policy.RoundRobinPolicy",
  });
  assert.equal(configuration.get(UserKeys.writePolicy), "RoundRobinPolicy");
});

test("masterRpcAddresses() trims blanks, and falls back to the journal's hosts", () => {
  assert.deepEqual(
    masterRpcAddresses(site({ "alluxio.master.rpc.addresses": "m1:1, m2:2;[::1]:3" })),
    [
      { host: "m1", port: 1 },
      { host: "m2", port: 2 },
      { host: "::1", port: 3 },
    ],
  );
  assert.deepEqual(
    masterRpcAddresses(site({ "alluxio.master.embedded.journal.addresses": "a:19200,b:19200" })),
    [
      { host: "a", port: 19998 },
      { host: "b", port: 19998 },
    ],
  );
  assert.deepEqual(masterRpcAddresses(site({})), [{ host: "localhost", port: 19998 }]);
});

test("journalMembership() finds this master in the list, and refuses when it is not there", () => {
  const addresses = { "alluxio.master.embedded.journal.addresses": "a:19200,b:19200" };
  const b = site({ ...addresses, "alluxio.master.hostname": "b" });
  assert.deepEqual(journalMembership(b, () => assert.fail()).self, { host: "b", port: 19200 });
  assert.deepEqual(journalMembership(site(addresses), (host) => host === "a").self, {
    host: "a",
    port: 19200,
  });
  const c = site({ ...addresses, "alluxio.master.hostname": "c" });
  assert.throws(() => journalMembership(c, () => false), /c:19200 is none of .*=a:19200,b:19200/);
  assert.throws(() => journalMembership(site(addresses), () => true), /more than one/);
});

test("electionTimes() keeps the relations between its times", () => {
  assert.deepEqual(electionTimes(site({})), {
    electionTimeoutMinMs: 200,
    electionTimeoutMaxMs: 400,
    heartbeatIntervalMs: 50,
  });
  const old = site({ "alluxio.master.embedded.journal.election.timeout": "10s" });
  assert.equal(electionTimes(old).electionTimeoutMaxMs, 20_000);
  const max = site({ "alluxio.master.embedded.journal.election.timeout.max": "100ms" });
  assert.throws(() => electionTimes(max), /is shorter than/);
});

test("what is bad only because of another key is not said again", () => {
  const bad = (properties: Record<string, string>) => {
    try {
      site(properties);
    } catch (error) {
      return (error as Error).message; // what createConfiguration throws
    }
    return assert.fail("accepted");
  };
  const text = bad({ "alluxio.worker.ramdisk.size": "lots" });
  assert.match(text, /^Bad value "lots" of alluxio\.worker\.ramdisk\.size/);
  assert.equal(text.includes("\n"), false, text);
  const circle = bad({
    "alluxio.worker.ramdisk.size": `\${alluxio.worker.tieredstore.level0.dirs.quota}`,
  });
  assert.match(circle, /refers to itself/);
});

test("rootUnderStore() takes local directories, HDFS and S3 alone, and says so", () => {
  const root = (uri: string) =>
    rootUnderStore(site({ "alluxio.master.mount.table.root.ufs": uri }));
  for (const uri of [
    "/x",
    "/",
    "file:/x",
    "file:///x",
    "FILE:///x",
    "file://localhost/x",
    "hdfs://h:1/x",
    "s3://b/x",
    "s3a://b",
  ])
    assert.equal(root(uri), uri);
  for (const uri of ["s3:///x", "gs://b/x", "hdfs://h:1", "x/y", "file://host/x", "file:x", ""])
    assert.throws(
      () => root(uri),
      /alluxio\.master\.mount\.table\.root\.ufs=.* cannot be used: .* as an absolute path or file:\/\/\/path/,
      uri,
    );
});

test("requireOneTier() says that there is one", () => {
  requireOneTier(site({}));
  const two = site({ "alluxio.worker.tieredstore.levels": "2" });
  assert.throws(() => requireOneTier(two), /levels=2 .* supports only one tier/);
});

test("editDistance() counts letters, up to its limit", () => {
  assert.equal(editDistance("abc", "abc", 5), 0);
  assert.equal(editDistance("abc", "acb", 5), 1);
  assert.equal(editDistance("kitten", "sitting", 5), 3);
  assert.equal(editDistance("a", "completely other", 4), 4);
  assert.equal(nearestName("alluxio.zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"), null);
});
