import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { DecodeError } from "../common/bytes.ts";
import { parseConnectString } from "./connect_string.ts";
import { JuteReader, JuteWriter } from "./jute.ts";
import { isZooKeeperError, OP, readConnect, readMulti, readStat, readWatch } from "./protocol.ts";
import { Watches } from "./watches.ts";

test("what JuteWriter writes JuteReader reads", () => {
  const record = fc.record(
    {
      bool: fc.boolean(),
      int: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
      long: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      buffer: fc.uint8Array({ maxLength: 400 }),
      text: fc.string({ unit: "binary" }),
      texts: fc.array(fc.string({ unit: "grapheme" }), { maxLength: 9 }),
    },
    { noNullPrototype: true },
  );
  fc.assert(
    fc.property(record, (value) => {
      const writer = new JuteWriter(1);
      writer.bool(value.bool);
      writer.int(value.int);
      writer.long(value.long);
      writer.buffer(value.buffer);
      writer.text(value.text);
      writer.texts(value.texts);
      const packet = writer.packet();
      assert.equal(new DataView(packet.buffer).getInt32(0), packet.length - 4);
      const reader = new JuteReader(packet.subarray(4));
      const read = {
        bool: reader.bool(),
        int: reader.int(),
        long: reader.long(),
        buffer: reader.buffer(),
        text: reader.text(),
        texts: reader.texts(),
      };
      assert.deepEqual(read, value);
      assert.equal(reader.remainingBytes, 0);
    }),
  );
});

test("a request looks as ZooKeeper's own client writes it", () => {
  const writer = new JuteWriter();
  writer.int(7);
  writer.int(OP.getData);
  writer.text("/a");
  writer.bool(true);
  assert.equal(
    Buffer.from(writer.packet()).toString("hex"),
    "0000000f0000000700000004000000022f6101",
  );
});

test("any bytes give a value or a DecodeError", () => {
  const readers = [
    (bytes: Uint8Array) => readConnect(bytes),
    (bytes: Uint8Array) => readStat(new JuteReader(bytes)),
    (bytes: Uint8Array) => readWatch(new JuteReader(bytes)),
    (bytes: Uint8Array) => new JuteReader(bytes).texts(),
    (bytes: Uint8Array) =>
      readMulti(new JuteReader(bytes), [{ kind: "check", path: "/x", version: 0 }], (path) => path),
  ];
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 90 }), (bytes) => {
      for (const read of readers)
        try {
          read(bytes);
        } catch (error) {
          assert.ok(error instanceof DecodeError || isZooKeeperError(error), String(error));
        }
    }),
  );
});

test("parseConnectString() takes servers and a chroot", () => {
  assert.deepEqual(parseConnectString(" zk1:2181, zk2 ;[::1]:99/a/b/ "), {
    servers: [
      { host: "zk1", port: 2181 },
      { host: "zk2", port: 2181 },
      { host: "::1", port: 99 },
    ],
    chroot: "/a/b",
  });
  for (const bad of ["", ",", "/a", "h:0", "h:x", "a b:1", "h:1/a//b"])
    assert.throws(() => parseConnectString(bad), { status: "INVALID_ARGUMENT" }, bad);
});

test("portions() of watches name each path once and are bounded", () => {
  const watches = new Watches();
  for (let i = 0; i < 100; i++) {
    watches.add("data", `/node-${i}`, () => {});
    watches.add("children", `/node-${i}`, () => {});
  }
  const portions = [...watches.portions(300)];
  assert.ok(portions.length > 10);
  assert.equal(new Set(portions.flatMap(({ data }) => data)).size, 100);
  assert.equal(portions.flatMap(({ children }) => children).length, 100);
});
