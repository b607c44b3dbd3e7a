/**
 * Our .proto files against the descriptors inside Alluxio's own jar: names, numbers, labels, types, enum values,
 * methods and their streams.
 * @module
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { before, describe, test } from "node:test";
import protobuf from "protobufjs";
import { javaToolchain } from "./java_client.ts";

const java = javaToolchain();
if (java.kind === "missing") {
  const line = `PROTOCOL NOT COMPARED WITH ALLUXIO'S: ${java.why}`;
  console.error(`\n${"!".repeat(line.length)}\n${line}\n${"!".repeat(line.length)}\n`);
  if (process.env["ROCKPOOL_REQUIRE_JAVA"] === "1") throw new Error(line);
}

const FILES = [
  "acl",
  "block_master",
  "block_worker",
  "common",
  "file_system_master",
  "fscommon",
  "journal_file",
  "journal_master",
  "meta_master",
  "metric_master",
  "protocol",
  "sasl_server",
  "status",
  "version",
];

function loadOurs(): protobuf.Root {
  const root = new protobuf.Root();
  root.resolvePath = (_origin, target) => `src/proto/${target.replace(/^.*\//, "")}`;
  root.loadSync(
    FILES.map((name) => `${name}.proto`),
    { keepCase: true },
  );
  root.resolveAll();
  return root;
}

const nameOf = (item: protobuf.ReflectionObject) => item.fullName.slice(1);

function typeOf(field: protobuf.Field): string {
  const value = field.resolvedType === null ? field.type : nameOf(field.resolvedType);
  return field instanceof protobuf.MapField ? `map<${field.keyType},${value}>` : value;
}

function linesOf(item: protobuf.ReflectionObject): string[] {
  if (item instanceof protobuf.Enum)
    return Object.entries(item.values).map(
      ([name, number]) => `enum ${nameOf(item)} ${name} = ${number}`,
    );
  if (item instanceof protobuf.Type)
    return [
      `message ${nameOf(item)}`,
      ...item.fieldsArray.map((field) => {
        const label =
          field.repeated || field.map ? "repeated" : field.required ? "required" : "optional";
        return `field ${nameOf(item)} ${field.id} ${field.name} ${label} ${typeOf(field)} ${field.partOf?.name ?? "-"}`;
      }),
      ...item.nestedArray.flatMap(linesOf),
    ];
  if (item instanceof protobuf.Service)
    return item.methodsArray.map((method) => {
      const stream = (isStream: boolean | undefined) => (isStream === true ? "stream " : "");
      const request = method.resolvedRequestType;
      const response = method.resolvedResponseType;
      assert.ok(request !== null && response !== null);
      return (
        `method /${nameOf(item)}/${method.name} ` +
        `${stream(method.requestStream)}${nameOf(request)} ${stream(method.responseStream)}${nameOf(response)}`
      );
    });
  return item instanceof protobuf.Namespace ? item.nestedArray.flatMap(linesOf) : [];
}

/** The message, enum or service that a line belongs to. */
function ownerOf(line: string): string {
  const [, subject = ""] = line.split(" ");
  return subject.startsWith("/") ? (subject.split("/")[1] ?? "") : subject;
}

/** What workers of ours tell masters of ours besides; Alluxio's own programs skip fields that they do not know. */
const OUR_FIELDS: ReadonlySet<string> = new Set([
  "field alluxio.grpc.block.BlockHeartbeatPOptions 1000 isDecommissioned optional bool -",
  "field alluxio.grpc.block.RegisterWorkerPOptions 1000 isDecommissioned optional bool -",
]);

describe("our .proto files", { skip: java.kind === "missing" }, () => {
  let theirs: string[] = [];
  let ours: string[] = [];

  before(() => {
    assert.ok(java.kind === "ready");
    const program = "test/interop/java/Descriptors.java";
    const output = execFileSync("java", ["-cp", java.classpath, program], {
      encoding: "utf8",
      maxBuffer: 1e8,
    });
    theirs = output.trim().split("\n");
    ours = loadOurs().nestedArray.flatMap(linesOf);
  });

  test("declare what Alluxio's jar declares, field by field and method by method", () => {
    const declared = new Set(ours.map(ownerOf));
    const expected = theirs.filter((line) => declared.has(ownerOf(line)));
    assert.ok(expected.length > 900, `the jar named ${expected.length} of our things`);
    const shared = ours.filter((line) => !OUR_FIELDS.has(line));
    assert.equal(ours.length - shared.length, OUR_FIELDS.size, "fields of our own, as listed");
    assert.deepEqual(shared.sort(), expected.sort());
  });
});
