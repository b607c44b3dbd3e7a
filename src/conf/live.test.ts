import assert from "node:assert/strict";
import { test } from "node:test";
import { createConfiguration } from "./configuration.ts";
import { clusterDefaultsOf, isDynamic, isHandedToClients } from "./dynamic_keys.ts";
import { LiveConfiguration } from "./live.ts";
import { MasterKeys } from "./master_keys.ts";

const TIMEOUT = MasterKeys.workerTimeout;

function started(properties: Readonly<Record<string, string>>) {
  const assignments = Object.entries(properties).map(([name, value]) => ({
    name,
    value,
    origin: "site:1",
  }));
  return createConfiguration([{ source: "SITE_PROPERTY", assignments }]);
}

const update = (live: LiveConfiguration, ...pairs: readonly [string, string][]) =>
  Object.fromEntries(live.update(new Map(pairs)));

test("S0-17 nothing changes while alluxio.conf.dynamic.update.enabled is false", () => {
  const live = new LiveConfiguration(started({}));
  const told = update(live, [TIMEOUT.key, "1min"]);
  assert.match(told[TIMEOUT.key] ?? "", /alluxio\.conf\.dynamic\.update\.enabled is false/);
  assert.equal(live.get(TIMEOUT), 300_000);
});

test("S0-17 dynamic properties change at once, by name or alias; others are refused with the reason", () => {
  const own = started({ "alluxio.conf.dynamic.update.enabled": "true", [TIMEOUT.key]: "2min" });
  const live = new LiveConfiguration(own);
  const heard: string[][] = [];
  live.onChange((changed) => heard.push([...changed]));
  assert.deepEqual(update(live, ["alluxio.master.worker.timeout.ms", "60000"]), {
    "alluxio.master.worker.timeout.ms": null,
  });
  assert.equal(live.get(TIMEOUT), 60_000);
  assert.equal(live.current.source(TIMEOUT.key), "RUNTIME");
  assert.equal(own.get(TIMEOUT), 120_000, "who holds the old one sees it whole");
  const told = update(
    live,
    [TIMEOUT.key, "soon"],
    ["alluxio.master.hostname", "m2"],
    ["alluxio.nonsense", "1"],
    ["alluxio.user.file.writetype.default", "THROUGH"],
  );
  assert.match(told[TIMEOUT.key] ?? "", /Bad value "soon"/);
  assert.match(told["alluxio.master.hostname"] ?? "", /read at the start only/);
  assert.match(told["alluxio.nonsense"] ?? "", /nobody knows/);
  assert.equal(told["alluxio.user.file.writetype.default"], null);
  assert.equal(live.get(TIMEOUT), 60_000, "a bad value changes nothing");
  assert.deepEqual(heard, [[TIMEOUT.key], ["alluxio.user.file.writetype.default"]]);
  assert.equal(
    clusterDefaultsOf(live.current).get("alluxio.user.file.writetype.default"),
    "THROUGH",
  );
});

test("clients are handed what is set for clients, and nothing about one client alone", () => {
  const configuration = started({
    "alluxio.user.client.cache.enabled": "true",
    "alluxio.user.hostname": "here",
    "alluxio.security.authorization.permission.umask": "077",
    "alluxio.master.hostname": "m1",
    "alluxio.user.nobody.knows": "1",
  });
  const handed = clusterDefaultsOf(configuration);
  assert.equal(handed.get("alluxio.user.client.cache.enabled"), "true");
  assert.equal(handed.get("alluxio.security.authorization.permission.umask"), "077");
  for (const name of [
    "alluxio.user.hostname",
    "alluxio.master.hostname",
    "alluxio.user.nobody.knows",
  ])
    assert.equal(handed.has(name), false, name);
  assert.equal(handed.get("alluxio.user.master.polling.timeout"), "3s", "our advice");
  assert.equal(isHandedToClients("alluxio.security.authorization.permission.enabled"), true);
  assert.equal(isDynamic("alluxio.security.authorization.permission.enabled"), false);
});
