/**
 * The table of docs/COMPATIBILITY.md that names a test for each row of the two documents: every row is there, and every
 * named file has a test of that name.
 * @module
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

/** Statements of the first document; 66 has five steps. */
const FIRST_ROWS = 67;
const STEPS = ["S0-66.1", "S0-66.2", "S0-66.3", "S0-66.4", "S0-66.5"];

type Row = { readonly row: string; readonly files: readonly string[] };

function table(): readonly Row[] {
  const text = readFileSync("docs/COMPATIBILITY.md", "utf8");
  return [...text.matchAll(/^\| (S[01]-[\d.]+) \|[^|]*\|([^|]*)\|/gm)].map(
    ([, row = "", files = ""]) => ({
      row,
      files: [...files.matchAll(/`([^`]+)`/g)].map(([, file = ""]) => file),
    }),
  );
}

test("every row of the first document has a test that bears its name", () => {
  const rows = table();
  const named = new Set(rows.map(({ row }) => row));
  const wanted = [...Array.from({ length: FIRST_ROWS }, (_, at) => `S0-${at + 1}`), ...STEPS];
  assert.deepEqual(
    wanted.filter((row) => !named.has(row)),
    [],
  );
  for (const { row, files } of rows) {
    assert.ok(files.length > 0, `${row} names a test`);
    for (const file of files) {
      const names = readFileSync(file, "utf8").split(/[^\w.-]+/);
      assert.ok(names.includes(row), `${file} has a test named ${row}`);
    }
  }
});
