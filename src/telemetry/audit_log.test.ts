import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { type AuditEntry, AuditLog, type AuditLogEvent, formatAudit } from "./audit_log.ts";

const ENTRY: AuditEntry = {
  succeeded: true,
  allowed: true,
  user: "ada",
  groups: ["staff", "others"],
  authentication: "SIMPLE",
  ip: "10.0.0.7:53412",
  command: "rename",
  source: "/a",
  destination: "/b",
  permission: "ada:staff:rw-r-----",
  executionMs: 0.812,
};

test("formatAudit() writes Alluxio's fields", () => {
  assert.equal(
    formatAudit(ENTRY).replaceAll("\t", " "),
    "succeeded=true allowed=true ugi=ada,staff (AUTH=SIMPLE) ip=10.0.0.7:53412 cmd=rename src=/a dst=/b perm=ada:staff:rw-r----- executionTimeUs=812",
  );
  const bare = { ...ENTRY, groups: [], source: null, destination: null, permission: null };
  assert.match(formatAudit(bare), /ugi=ada \(AUTH=SIMPLE\).*src=null\tdst=null\tperm=null/);
});

test("no name makes a field or a line of its own", () => {
  const text = formatAudit({ ...ENTRY, source: "/a\nsucceeded=true\tcmd=delete", user: "a b=c" });
  assert.equal(text.split("\n").length, 1);
  assert.equal(text.split("\t").length, 9);
  assert.match(text, /ugi="a b=c",staff/);
});

test("AuditLog writes what was recorded, in order, and goes on after a truncation", async () => {
  const folder = mkdtempSync(join(tmpdir(), "audit-"));
  const path = join(folder, "master_audit.log");
  const log = new AuditLog({ path, capacity: 10, onEvent: () => assert.fail() });
  for (const command of ["mkdir", "delete"]) log.record({ ...ENTRY, command }, 0);
  assert.equal(log.waitingCount, 2);
  await log.close();
  const lines = readFileSync(path, "utf8").trimEnd().split("\n");
  assert.deepEqual(
    lines.map((line) => /cmd=(\w+)/.exec(line)?.[1]),
    ["mkdir", "delete"],
  );
  assert.match(lines[0] ?? "", /^1970-01-01 00:00:00\.000 INFO {2}AUDIT_LOG succeeded=true/);
  truncateSync(path);
  log.record(ENTRY, 0);
  await log.close();
  assert.equal(readFileSync(path, "utf8").trimEnd().split("\n").length, 1);
  rmSync(folder, { recursive: true });
});

test("AuditLog drops and counts what is beyond its capacity, and never makes anybody wait", async () => {
  const events: AuditLogEvent[] = [];
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const written: string[] = [];
  const append = async (_path: string, text: string) => {
    written.push(text);
    await held;
  };
  const log = new AuditLog({
    path: "p",
    capacity: 3,
    onEvent: (event) => events.push(event),
    append,
  });
  log.record(ENTRY, 0);
  await Promise.resolve();
  await Promise.resolve();
  for (let count = 0; count < 5; count++) log.record(ENTRY, 0);
  assert.equal(log.waitingCount, 3);
  assert.equal(log.droppedCount, 2);
  release();
  await log.close();
  assert.equal(written.join("").trimEnd().split("\n").length, 4);
  assert.deepEqual(events, [{ kind: "auditEntriesDropped", path: "p", droppedCount: 2 }]);
});

test("AuditLog tells once that its file cannot be written, and counts what is lost", async () => {
  const events: AuditLogEvent[] = [];
  const append = () => Promise.reject(new Error("EROFS"));
  const log = new AuditLog({
    path: "p",
    capacity: 3,
    onEvent: (event) => events.push(event),
    append,
  });
  for (let count = 0; count < 2; count++) {
    log.record(ENTRY, 0);
    await log.close();
  }
  assert.deepEqual(events, [{ kind: "auditLogFailed", path: "p", message: "EROFS" }]);
  assert.equal(log.droppedCount, 2);
});
