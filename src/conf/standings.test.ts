import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { isRockpoolError } from "../common/errors.ts";
import { ACCEPTED_NAMES } from "./accepted_names.ts";
import { createConfiguration } from "./configuration.ts";
import { ALL_KEYS, defaultTextOf, isKnownName, keyOf } from "./keys.ts";
import {
  namesWithoutEffect,
  refusals,
  requireSafe,
  standingOf,
  standingText,
  withoutEffectLines,
} from "./standings.ts";

function site(properties: Readonly<Record<string, string>>) {
  const assignments = Object.entries(properties).map(([name, value], at) => ({
    name,
    value,
    origin: `site:${at + 1}`,
  }));
  return createConfiguration([{ source: "SITE_PROPERTY", assignments }]);
}

type Row = { readonly name: string; readonly default: string; readonly standing: string };

/** The rows of docs/PROPERTIES.md. */
function documented(): readonly Row[] {
  return readFileSync("docs/PROPERTIES.md", "utf8")
    .split("\n")
    .map((line) => /^\| `([^`]+)` \| (?:`([^`]*)`|–) \| (.*) \|$/.exec(line))
    .flatMap((match) =>
      match === null
        ? []
        : [{ name: match[1] ?? "", default: match[2] ?? "", standing: match[3] ?? "" }],
    );
}

/** A name that a template stands for. */
const concrete = (name: string) => name.replace(/<(\w+)>/g, "$1");

test("every property of the table has the standing and the default that docs/PROPERTIES.md says", () => {
  const rows = documented();
  assert.ok(rows.length > 240, `${rows.length} rows`);
  for (const { name, default: shown, standing } of rows) {
    assert.ok(isKnownName(concrete(name)), `${name} is known`);
    assert.equal(standing, standingText(concrete(name)), name);
    assert.equal(shown, (defaultTextOf(concrete(name)) ?? "").replaceAll("|", "\\|"), name);
  }
});

test("every key of the tables is documented, and every name of Alluxio's has a reason of its own", () => {
  const names = new Set(documented().map(({ name }) => keyOf(name)?.key ?? name));
  for (const { key } of ALL_KEYS) assert.ok(names.has(key), `${key} is in docs/PROPERTIES.md`);
  for (const name of ACCEPTED_NAMES.keys())
    assert.doesNotMatch(standingText(name), /nothing here reads it/, name);
});

test("keys that are said to be honoured are read outside of the tables", async () => {
  const { readdirSync } = await import("node:fs");
  const tables =
    /conf\/(common|edge|master|ufs|worker|user|zookeeper)_keys\.ts|conf\/(consistency|dynamic_keys)\.ts|\.test\.ts$/;
  const code = readdirSync("src", { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".ts") && !tables.test(path) && !path.includes("gen/"))
    .map((path) => readFileSync(`src/${path}`, "utf8"))
    .join("\n");
  const inTables = ["common", "edge", "master", "ufs", "worker", "user", "zookeeper"]
    .map((name) => readFileSync(`src/conf/${name}_keys.ts`, "utf8"))
    .join("\n");
  // "  rpcPort: keySpec("alluxio.…"" or with the key on the next line, or made of ${JOURNAL}.
  const specs = [...inTables.matchAll(/^ {2}(\w+): (?:unset)?[kK]eySpec\(\s*[`"]([^`"]+)[`"]/gm)];
  assert.ok(specs.length > 80);
  for (const [, property = "", text = ""] of specs) {
    const key = text.replace(/^\$\{JOURNAL\}/, "alluxio.master.embedded.journal");
    if (standingOf(key).kind !== "honoured") continue;
    const isNamed = new RegExp(`\\b${property}\\b`).test(code);
    const isReferred = inTables.includes(`\${${key}}`) || code.includes(`"${key}"`);
    assert.ok(isNamed || isReferred, `${key} is read by somebody`);
  }
});

test("properties without effect are named with the reason, secrets without their value", () => {
  const configuration = site({
    "alluxio.proxy.web.port": "39999",
    "fs.gcs.secretAccessKey": "hush",
    "alluxio.user.client.cache.enabled": "true",
    "alluxio.master.mount.table.root.option.x": "1",
    "alluxio.master.rpc.port": "19998",
    "alluxio.nobody.knows": "1",
  });
  assert.deepEqual(namesWithoutEffect(configuration), [
    "alluxio.master.mount.table.root.option.x",
    "alluxio.proxy.web.port",
    "fs.gcs.secretAccessKey",
  ]);
  const lines = withoutEffectLines(configuration);
  assert.equal(
    lines[1],
    "alluxio.proxy.web.port=39999 has no effect here: there is no proxy (REST, S3) yet",
  );
  assert.match(lines[2] ?? "", /^fs\.gcs\.secretAccessKey=\*{6} /);
});

test("values that would be dangerous to ignore refuse the start, each with its line and what to do", () => {
  const cases: readonly [Record<string, string>, RegExp][] = [
    [{ "alluxio.network.tls.enabled": "true" }, /^alluxio\.network\.tls\.enabled=true \(site:1\)/],
    [{ "alluxio.zookeeper.enabled": "true" }, /alluxio\.zookeeper\.address is not set/],
    [{ "alluxio.master.journal.folder": "hdfs://nn:9000/j" }, /a folder of a local disk/],
  ];
  for (const [properties, expected] of cases) {
    const configuration = site(properties);
    assert.match(refusals(configuration, "master")[0]?.message ?? "", expected);
    assert.throws(
      () => requireSafe(configuration, "master"),
      (error: unknown) => isRockpoolError(error, "INVALID_ARGUMENT") && error.remedy !== "",
    );
  }
  const all = Object.assign({}, ...cases.map(([properties]) => properties)) as Record<
    string,
    string
  >;
  assert.equal(
    refusals(site({ ...all, "alluxio.zookeeper.enabled": "false" }), "master").length,
    2,
  );
  const shared = {
    "alluxio.master.journal.type": "UFS",
    "alluxio.master.journal.folder": "hdfs://nn:9000/j",
  };
  assert.deepEqual(refusals(site(shared), "master"), []);
  // What only masters read stops nobody else.
  assert.equal(refusals(site(all), "client").length, 2);
  for (const type of ["KERBEROS", "CUSTOM"])
    assert.throws(() => site({ "alluxio.security.authentication.type": type }), /SIMPLE, NOSASL/);
});
