/**
 * The table of docs/COMPATIBILITY.md that names a test for each row of the two documents: every row is there, and every
 * named file has a test of that name.
 * @module
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

/** Statements of the first document, of which 66 has five steps, and of the second. */
const FIRST_ROWS = 67;
const SECOND_ROWS = 31;
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

test("every row of the two documents has a test that bears its name", () => {
  const rows = table();
  const named = new Set(rows.map(({ row }) => row));
  const numbered = (document: string, count: number) =>
    Array.from({ length: count }, (_, at) => `${document}-${at + 1}`);
  const wanted = [...numbered("S0", FIRST_ROWS), ...STEPS, ...numbered("S1", SECOND_ROWS)];
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
