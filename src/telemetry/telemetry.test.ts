import assert from "node:assert/strict";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { createLogger, formatLine, type Level, type LoggerOptions } from "./logger.ts";
import { createMetrics } from "./metrics.ts";
import { createTelemetry, levelOf } from "./telemetry.ts";

const clock = { monotonicMs: () => 0, wallMs: () => Date.UTC(2026, 0, 2, 3, 4, 5, 6) };

/** What `use` logs, as a file holds it. */
function logged(
  format: LoggerOptions["format"],
  use: (log: ReturnType<typeof createLogger>) => void,
) {
  const folder = mkdtempSync(join(tmpdir(), "log-"));
  const path = join(folder, "log");
  const fileDescriptor = openSync(path, "w");
  const logger = createLogger({ format, level: "info", clock, fileDescriptor });
  use(logger);
  logger.flush();
  closeSync(fileDescriptor);
  const text = readFileSync(path, "utf8");
  rmSync(folder, { recursive: true });
  return text;
}

test("createLogger() writes text that says when, where and what", () => {
  const text = logged("text", (logger) => {
    logger.log("debug", "journal", "hidden");
    logger.log("info", "journal", "gained", { term: 3, id: 5n, path: "/a b", none: undefined });
  });
  assert.equal(text, '2026-01-02 03:04:05.006 INFO  journal gained term=3 id=5 path="/a b"\n');
});

test("createLogger() writes JSON lines, with ids and errors", () => {
  const text = logged("json", (logger) =>
    logger.log("error", "main", "broken", { id: 5n, error: new Error("why") }),
  );
  const line = JSON.parse(text) as { msg: string; id: string; error: { message: string } };
  assert.equal(line.msg, "broken");
  assert.equal(line.id, "5");
  assert.equal(line.error.message, "why");
});

test("formatLine() shows the stack of an error", () => {
  const fields = { error: new TypeError("odd") };
  const line = formatLine({ wallMs: 0, level: "error", part: "p", message: "m", fields });
  assert.match(line, /TypeError: odd\n\s+at /);
});

test("createMetrics() reads its values when it is scraped", async () => {
  const metrics = createMetrics();
  let paths = 1;
  const help = "Files and directories";
  metrics.serve({ name: "Master.TotalPaths", help, kind: "gauge", read: () => paths });
  metrics.serve({ name: "Master.PathsDeleted", help, kind: "counter", read: () => paths });
  paths = 42;
  metrics.countEvent("journal", "gained");
  metrics.countCall("/alluxio.grpc.file.FileSystemMasterClientService/GetStatus", 0, 1500);
  metrics.countCall("/alluxio.grpc.file.FileSystemMasterClientService/GetStatus", 5, 500);
  metrics.countCall("/alluxio.grpc.sasl.SaslAuthenticationService/authenticate", 0, 3_600_000);
  await metrics.scrape();
  const { text } = await metrics.scrape();
  assert.match(text, /^Master_TotalPaths 42$/m);
  assert.match(text, /^Master_PathsDeleted 42$/m);
  assert.match(text, /^Rockpool_Calls\{method="GetStatus",status="5"\} 1$/m);
  assert.match(text, /^Rockpool_CallSeconds\{method="GetStatus"\} 2$/m);
  assert.match(text, /^Rockpool_Calls\{method="authenticate",status="0"\} 1$/m);
  assert.doesNotMatch(text, /Rockpool_CallSeconds\{method="authenticate"/);
  assert.equal(metrics.callCount("GetStatus"), 1);
  assert.match(text, /^Rockpool_Events\{part="journal",kind="gained"\} 1$/m);
  assert.match(text, /^process_resident_memory_bytes \d/m);
});

test("listen() logs and counts each event of a part", async () => {
  const lines: [Level, string, string, unknown][] = [];
  const logger = {
    log: (level: Level, part: string, message: string, fields?: unknown) =>
      void lines.push([level, part, message, fields]),
    flush: () => {},
  };
  const metrics = createMetrics();
  const onEvent = createTelemetry(logger, metrics).listen<{
    kind: "ping" | "writeFailed";
    n: number;
  }>("worker", { ping: "debug" });
  onEvent({ kind: "ping", n: 1 });
  onEvent({ kind: "writeFailed", n: 2 });
  assert.deepEqual(lines, [
    ["debug", "worker", "ping", { n: 1 }],
    ["warn", "worker", "writeFailed", { n: 2 }],
  ]);
  assert.match((await metrics.scrape()).text, /kind="writeFailed"\} 1/);
  assert.equal(levelOf("gained"), "info");
});
