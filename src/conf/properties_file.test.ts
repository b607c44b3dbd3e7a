import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { formatProperty, parseProperties } from "./properties_file.ts";

const pairs = (text: string) =>
  parseProperties(text).properties.map(({ key, value }) => [key, value]);

test("parseProperties() takes =, : and blanks as separators", () => {
  assert.deepEqual(pairs("a=1\nb: 2\nc 3\n d\t=\t4\ne\nf==5\n\\=g\\:h=i"), [
    ["a", "1"],
    ["b", "2"],
    ["c", "3"],
    ["d", "4"],
    ["e", ""],
    ["f", "=5"],
    ["=g:h", "i"],
  ]);
});

test("parseProperties() joins continued lines and counts from where they begin", () => {
  const { properties } = parseProperties(
    "# c\r\n! d\r\n\r\na=1,\\\r\n   2,\\\r\n   3\r\nb=x\\\\\nc=end\\",
  );
  assert.deepEqual(properties, [
    { key: "a", value: "1,2,3", line: 4 },
    { key: "b", value: "x\\", line: 7 },
    { key: "c", value: "end", line: 8 },
  ]);
});

test("parseProperties() reads escapes", () => {
  assert.deepEqual(pairs("a=\\u00e9\\t\\q\\\\n"), [["a", "é\tq\\n"]]);
});

test("parseProperties() takes a comment off a value and reports its line", () => {
  const { properties, warnings } = parseProperties(
    "x=1\nalluxio.master.hostname=m1 # Only needed on master node\ny=http://h/#part\nz=#1",
  );
  assert.deepEqual(
    properties.map(({ value }) => value),
    ["1", "m1", "http://h/#part", "#1"],
  );
  assert.deepEqual(
    warnings.map(({ line }) => line),
    [2],
  );
  assert.match(warnings[0]?.text ?? "", /Only needed on master node/);
});

test("parseProperties() reads back what formatProperty() wrote", () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1 }), fc.string(), (key, text) => {
      const value = text.trim();
      const { properties, warnings } = parseProperties(`${formatProperty(key, value)}\nlast=1`);
      assert.deepEqual(warnings, []);
      assert.deepEqual(properties, [
        { key, value, line: 1 },
        { key: "last", value: "1", line: 2 },
      ]);
    }),
  );
});
