import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import protobuf from "protobufjs";
import { DecodeError } from "../common/bytes.ts";
import type { MessageCodec } from "../rpc/service.ts";
import * as acl from "./gen/acl.ts";
import * as block_master from "./gen/block_master.ts";
import * as block_worker from "./gen/block_worker.ts";
import * as common from "./gen/common.ts";
import * as file_system_master from "./gen/file_system_master.ts";
import * as journal_master from "./gen/journal_master.ts";
import * as meta_master from "./gen/meta_master.ts";
import * as metric_master from "./gen/metric_master.ts";
import * as protocol from "./gen/protocol.ts";
import * as rockpool_internal from "./gen/rockpool_internal.ts";
import * as sasl_server from "./gen/sasl_server.ts";
import * as version from "./gen/version.ts";
import { WireReader } from "./wire_reader.ts";
import { WireWriter } from "./wire_writer.ts";

const MODULES: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  acl,
  block_master,
  block_worker,
  common,
  file_system_master,
  journal_master,
  meta_master,
  metric_master,
  protocol,
  rockpool_internal,
  sasl_server,
  version,
};

const root = new protobuf.Root();
root.resolvePath = (_origin, target) => `src/proto/${target.replace(/^.*\//, "")}`;
root.loadSync(
  Object.keys(MODULES).map((name) => `${name}.proto`),
  { keepCase: true },
);
root.resolveAll();

type Codec = { readonly type: protobuf.Type; readonly codec: MessageCodec<unknown> };

function isCodec(value: unknown): value is MessageCodec<unknown> {
  return typeof value === "object" && value !== null && "encode" in value && "decode" in value;
}

function codecs(namespace: protobuf.NamespaceBase, prefix = ""): Codec[] {
  return namespace.nestedArray.flatMap((item) => {
    if (!(item instanceof protobuf.Namespace)) return [];
    if (!(item instanceof protobuf.Type)) return codecs(item);
    const module = (item.filename ?? item.parent?.filename ?? "").replace(/^.*\/|\.proto$/g, "");
    const codec = MODULES[module]?.[prefix + item.name];
    assert.ok(isCodec(codec), `${item.fullName} has a codec`);
    return [{ type: item, codec }, ...codecs(item, `${prefix}${item.name}_`)];
  });
}
const ALL = codecs(root);

const camelCase = (name: string) =>
  name.replace(/_([a-z0-9])/gi, (_all, letter: string) => letter.toUpperCase());
const isNumber64 = (field: protobuf.Field) => field.map || field.options?.["jstype"] !== undefined;

const INT64 = fc.oneof(
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.bigInt({ min: -200n, max: 200n }),
  fc.constantFrom(2n ** 53n, 2n ** 53n - 1n, -(2n ** 53n), -(2n ** 53n) - 1n, 2n ** 32n, 2n ** 31n),
  ...[...Array(8).keys()].map((n) =>
    fc.constantFrom(2n ** BigInt(7 * n + 7), 2n ** BigInt(7 * n + 7) - 1n),
  ),
);
const TEXT = fc.oneof(
  fc.string({ maxLength: 40 }),
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.string({ minLength: 100, maxLength: 300 }),
);

function scalarArbitrary(field: protobuf.Field): fc.Arbitrary<unknown> {
  switch (field.type) {
    case "bool":
      return fc.boolean();
    case "int32":
      return fc.integer();
    case "int64":
      return isNumber64(field) ? fc.maxSafeInteger() : INT64;
    case "double":
      return fc.double();
    case "string":
      return TEXT;
    case "bytes":
      return fc.uint8Array({ maxLength: 300 });
    default:
      throw new Error(`No values for ${field.type}`);
  }
}

/** Values as our codecs decode them: every field is a property, undefined when absent. */
function messageArbitrary(type: protobuf.Type): fc.Arbitrary<Record<string, unknown>> {
  const fields: Record<string, fc.Arbitrary<unknown>> = {};
  for (const field of [...type.fieldsArray].sort((a, b) => a.id - b.id)) {
    const resolved = field.resolvedType;
    const value =
      resolved instanceof protobuf.Enum
        ? fc.constantFrom(...Object.values(resolved.values))
        : resolved instanceof protobuf.Type
          ? messageArbitrary(resolved)
          : scalarArbitrary(field);
    fields[camelCase(field.name)] = field.map
      ? fc
          .uniqueArray(fc.tuple(TEXT, value), { maxLength: 3, selector: ([key]) => key })
          .map((entries) => new Map(entries))
      : field.repeated
        ? fc.array(value, { maxLength: 3 })
        : field.required
          ? value
          : fc.option(value, { nil: undefined });
  }
  return fc.record(fields, { noNullPrototype: true });
}

/** The same value as protobufjs wants it. */
function toReflected(type: protobuf.Type, value: Record<string, unknown>): Record<string, unknown> {
  const entries: [string, unknown][] = [];
  for (const field of type.fieldsArray) {
    const given = value[camelCase(field.name)];
    if (given === undefined) continue;
    const one = (item: unknown): unknown =>
      field.resolvedType instanceof protobuf.Type
        ? toReflected(field.resolvedType, item as Record<string, unknown>)
        : field.type === "int64"
          ? String(item)
          : item;
    if (given instanceof Map)
      entries.push([
        field.name,
        Object.fromEntries([...given].map(([key, item]) => [key, one(item)])),
      ]);
    else entries.push([field.name, Array.isArray(given) ? given.map(one) : one(given)]);
  }
  return Object.fromEntries(entries);
}

/** Property order of a plain object puts integer-like keys first: not a matter of the wire. */
function hasOddKey(value: unknown): boolean {
  if (value instanceof Map)
    return [...value].some(([key, item]) => /^\d+$|^__proto__$/.test(key) || hasOddKey(item));
  if (value instanceof Uint8Array) return false;
  if (Array.isArray(value)) return value.some(hasOddKey);
  return typeof value === "object" && value !== null && Object.values(value).some(hasOddKey);
}

test("codecs exist for every message of every file", () => {
  assert.ok(ALL.length > 180, `found ${ALL.length}`);
});

test("decode() of encode() gives the value back, and the bytes are protobufjs' own", () => {
  for (const { type, codec } of ALL)
    fc.assert(
      fc.property(messageArbitrary(type), (value) => {
        const bytes = codec.encode(value);
        assert.deepEqual(codec.decode(bytes), value, type.fullName);
        if (hasOddKey(value)) return;
        const reflected = type.encode(type.fromObject(toReflected(type, value))).finish();
        assert.equal(Buffer.from(bytes).toString("hex"), Buffer.from(reflected).toString("hex"));
      }),
      { numRuns: 25 },
    );
});

test("encode() takes repeated fields and maps that are left out; decode() gives empty ones", () => {
  const bytes = file_system_master.FileInfo.encode({ fileId: 5n });
  const info = file_system_master.FileInfo.decode(bytes);
  assert.deepEqual(
    [info.fileId, info.blockIds, info.xattr.size, info.name],
    [5n, [], 0, undefined],
  );
});

test("decode() of any bytes gives a value or a DecodeError, and reads nothing beyond them", () => {
  const targets = ALL.filter(({ type }) => type.fieldsArray.length > 2);
  for (const { codec } of targets)
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        try {
          codec.decode(bytes);
        } catch (error) {
          assert.ok(error instanceof DecodeError, String(error));
        }
      }),
      { numRuns: 40 },
    );
});

test("decode() of a truncated or damaged message gives a value or a DecodeError", () => {
  const { codec, type } = ALL.find(({ type }) => type.name === "ListStatusPResponse") as Codec;
  fc.assert(
    fc.property(messageArbitrary(type), fc.nat(), fc.nat(255), (value, at, byte) => {
      const bytes = Uint8Array.from(codec.encode(value));
      if (bytes.length === 0) return;
      const cut = at % bytes.length;
      for (const damaged of [bytes.slice(0, cut), bytes.with(cut, byte)])
        try {
          codec.decode(damaged);
        } catch (error) {
          assert.ok(error instanceof DecodeError, String(error));
        }
    }),
  );
});

test("decode() skips unknown fields and unknown enum values, and takes packed lists", () => {
  // Field 999 of each wire type, then field 1 = 7, then an enum of 77 in field 3.
  const writer = new protobuf.Writer();
  writer.uint32((999 << 3) | 0).int64(-1);
  writer.uint32((999 << 3) | 1).fixed64(1);
  writer.uint32((999 << 3) | 2).string("x");
  writer.uint32((999 << 3) | 5).fixed32(1);
  writer.uint32((1 << 3) | 0).int32(77);
  writer
    .uint32((2 << 3) | 2)
    .fork()
    .int64(1)
    .int64(300)
    .int64(-1)
    .ldelim();
  writer.uint32((2 << 3) | 0).int64(9);
  assert.deepEqual(common.Command.decode(writer.finish()), {
    commandType: undefined,
    data: [1n, 300n, -1n, 9n],
  });
});

test("decode() refuses groups, field number 0, missing required fields, and text that is not UTF-8", () => {
  const refused: [MessageCodec<unknown>, number[]][] = [
    [common.Command, [(9 << 3) | 3, (9 << 3) | 4]],
    [common.Command, [0, 0]],
    [common.PMode, [8, 1]],
    [common.PMode, [8, 1, 16, 1, 24, 99]],
    [common.NetAddress, [10, 2, 0xc3, 0x28]],
    [common.NetAddress, [10, 200, 1, 65]],
    [common.Command, [16, ...Array(10).fill(0xff), 1]],
  ];
  for (const [codec, bytes] of refused)
    assert.throws(() => codec.decode(Uint8Array.from(bytes)), DecodeError, String(bytes));
});

test("64-bit numbers clamp at the largest long, and the largest long reads as the nearest double", () => {
  const longMax = block_worker.ReadRequest.encode({ length: Number.MAX_VALUE });
  assert.equal(block_worker.ReadRequest.decode(longMax).length, 2 ** 63);
  const writer = new WireWriter();
  writer.int64Number(2 ** 63);
  assert.equal(new WireReader(writer.take()).int64(), 2n ** 63n - 1n);
  writer.int64Number(-(2 ** 64));
  assert.equal(new WireReader(writer.take()).int64(), -(2n ** 63n));
});

test("encode() after one that failed half-way is not affected", () => {
  assert.throws(() => common.NetAddress.encode({ host: "a", rpcPort: 1.5 }));
  assert.deepEqual([...common.NetAddress.encode({ rpcPort: 1 })], [16, 1]);
});

test("encode() of large messages grows past the scratch and comes back", () => {
  const data = new Uint8Array(3_000_000).fill(7);
  for (let i = 0; i < 2; i++) {
    const decoded = block_worker.Chunk.decode(block_worker.Chunk.encode({ data }));
    assert.ok(Buffer.from(data).equals(decoded.data ?? new Uint8Array(0)));
  }
});
