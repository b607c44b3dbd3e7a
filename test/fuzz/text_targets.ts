/**
 * Decoders of text: paths, configuration files and values, logins.
 * @module
 */
import { parsePath } from "../../src/common/path.ts";
import { formatSize, parseDurationMs, parseSizeBytes } from "../../src/common/units.ts";
import { createConfiguration } from "../../src/conf/configuration.ts";
import { applyEnvFile, environmentAssignments, javaOptions } from "../../src/conf/environment.ts";
import { formatHostPort, parseHostPort } from "../../src/conf/key_spec.ts";
import { ALL_KEYS } from "../../src/conf/keys.ts";
import { formatProperty, parseProperties } from "../../src/conf/properties_file.ts";
import { parsePlain } from "../../src/rpc/sasl.ts";
import type { FuzzTarget } from "./fuzzer.ts";
import { mustEqual } from "./round_trip.ts";

const utf8 = new TextEncoder();
/** A reference to another property; written so, it is not taken for a template. */
const HOME = "$".concat("{alluxio.home}");
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("utf8");
const seeds = (...texts: string[]) => texts.map((each) => utf8.encode(each));

const paths: FuzzTarget = {
  name: "path",
  seeds: () =>
    seeds("/", "/a/b", "//a/./b/", "/ä/🦀", "/a/../b", "a", "/a\0b", "/%2e%2e/x", "/a b\\c"),
  run(bytes) {
    const path = parsePath(text(bytes));
    mustEqual(parsePath(path), path, "a path");
    if (/(^|\/)\.{1,2}(\/|$)|\/\/|\0|.\/$/.test(path)) throw new Error("a path is not normal");
    return `depth ${Math.min(8, path.split("/").length)}`;
  },
};

const properties: FuzzTarget = {
  name: "properties",
  seeds: () =>
    seeds(
      "alluxio.master.hostname=m1\n",
      "a : b\\\n  c\n! note\n# note\nk\\ 1=\\u00e4\\t\n",
      `alluxio.x=${HOME}/y # only on masters\r\nempty=\n=v\n`,
    ),
  run(bytes) {
    const { properties: found, warnings } = parseProperties(text(bytes));
    for (const { key, value } of found) {
      // A NUL or a lone surrogate has no place in a site file; a key of nothing has no line of its own.
      if (
        key === "" ||
        /[\0\ud800-\udfff\ufffd\v\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff]/.test(
          key + value,
        )
      )
        continue;
      const [again] = parseProperties(formatProperty(key, value)).properties;
      mustEqual([again?.key, again?.value], [key, value], "a property");
    }
    return `${Math.min(found.length, 9)} properties ${Math.min(warnings.length, 3)} warnings`;
  },
};

/** The first line says which key, the rest is its value; references and every parser are reached so. */
const values: FuzzTarget = {
  name: "configuration",
  seeds: () =>
    ALL_KEYS.map(({ key, defaultText }) => utf8.encode(`${key}\n${defaultText ?? "x"}`)).concat(
      seeds(
        `alluxio.work.dir\n${HOME}`,
        `alluxio.home\n${HOME}`,
        "alluxio.master.rpc.addresses\n[::1]:1,b:2;c:3+d:4",
        "alluxio.user.block.size.bytes.default\n1.5GB",
      ),
    ),
  run(bytes) {
    const [name = "", ...rest] = text(bytes).split("\n");
    const assignments = [{ name, value: rest.join("\n"), origin: "fuzz:1" }];
    const configuration = createConfiguration([{ source: "SITE_PROPERTY", assignments }]);
    return configuration.warnings.length === 0 ? "known" : "warned";
  },
};

const environment: FuzzTarget = {
  name: "environment",
  seeds: () =>
    seeds(
      "ALLUXIO_JAVA_OPTS=\"-Da=b -Dc='d e'\"\nexport ALLUXIO_HOME=/x\n",
      'ALLUXIO_MASTER_JAVA_OPTS+=" -Dalluxio.master.hostname=$HOSTNAME"\n# note\nif true; then\nfi\n',
      "X=$(date)\nY=`id`\nALLUXIO_RAM_FOLDER=$X/mnt\n",
    ),
  run(bytes) {
    const variables = applyEnvFile(text(bytes), { HOSTNAME: "h", ALLUXIO_JAVA_OPTS: "-Dz=1" });
    const count = (["master", "worker"] as const).reduce(
      (sum, kind) => sum + javaOptions(variables, kind).length,
      environmentAssignments(variables).length,
    );
    return `${Math.min(count, 9)} assignments`;
  },
};

const units: FuzzTarget = {
  name: "units",
  seeds: () =>
    seeds(
      "10s",
      "1.5h",
      "-1",
      "64MB",
      "1TB",
      "9007199254740993",
      "m1:19998",
      "[::1]:1",
      "1e9ms",
      "10 constructor",
    ),
  run(bytes) {
    const input = text(bytes);
    const address = parseHostPort(input);
    if (address !== null) mustEqual(parseHostPort(formatHostPort(address)), address, "an address");
    const durationMs = parseDurationMs(input);
    const sizeBytes = parseSizeBytes(input);
    for (const value of [durationMs, sizeBytes])
      if (value !== null && !Number.isSafeInteger(value))
        throw new Error("a unit is no safe integer");
    if (sizeBytes !== null && sizeBytes >= 0) formatSize(sizeBytes);
    return [address, durationMs, sizeBytes].map((value) => value !== null).join();
  },
};

const login: FuzzTarget = {
  name: "sasl-plain",
  seeds: () => seeds("alice\0bob\0noPassword", "\0bob\0x", "a\0b", "\0\0\0"),
  run(bytes) {
    const { user, connectionUser } = parsePlain(bytes);
    return user === connectionUser ? "itself" : "for another";
  },
};

export const TEXT_TARGETS: readonly FuzzTarget[] = [
  paths,
  properties,
  { ...values, weight: 0.02 },
  { ...environment, weight: 0.1 },
  units,
  login,
];
