import assert from "node:assert/strict";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { createLogger, formatLine, type Level, type LoggerOptions, parseLevel } from "./logger.ts";
import { createMetrics } from "./metrics.ts";
import { createTelemetry, levelOf } from "./telemetry.ts";
import { Rates, statisticsOf, Timer } from "./timer.ts";

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

test("levels of single parts are changed while the log is open, and root moves the rest", () => {
  for (const format of ["text", "json"] as const) {
    const folder = mkdtempSync(join(tmpdir(), "levels-"));
    const path = join(folder, "log");
    const fileDescriptor = openSync(path, "w");
    const logger = createLogger({ format, level: "info", clock, fileDescriptor });
    const { levels } = logger;
    for (const part of ["journal", "rpc"]) levels.register(part);
    logger.log("debug", "journal", "one");
    levels.setLevel("journal", "debug");
    logger.log("debug", "journal", "two");
    logger.log("debug", "rpc", "three");
    levels.setLevel("root", "error");
    logger.log("warn", "rpc", "four");
    logger.log("debug", "journal", "five");
    assert.throws(() => levels.setLevel("nobody", "info"), /Nothing logs as "nobody"/);
    assert.deepEqual(
      [...levels.levels()],
      [
        ["root", "error"],
        ["journal", "debug"],
        ["rpc", "error"],
      ],
    );
    logger.flush();
    closeSync(fileDescriptor);
    const words = readFileSync(path, "utf8").match(/one|two|three|four|five/g);
    assert.deepEqual(words, ["two", "five"], format);
    rmSync(folder, { recursive: true });
  }
  assert.equal(parseLevel(" Warn "), "warn");
  assert.equal(parseLevel("OFF"), "fatal");
  assert.equal(parseLevel("loud"), null);
});

test("createMetrics() serves timers as summaries, and everything in Dropwizard's shape", async () => {
  let nowMs = 0;
  const metrics = createMetrics(() => nowMs);
  const timer = new Timer();
  const help = "Syncs";
  metrics.serve({ name: "Master.Sync", help, kind: "timer", read: () => timer.read() });
  metrics.serve({ name: "Cluster.LeaderId", help, kind: "text", read: () => "m1_19200" });
  metrics.serve({ name: "Master.Ops", help, kind: "counter", read: () => 3 });
  metrics.serve({ name: "Master.Paths", help, kind: "gauge", read: () => 7 });
  for (let ms = 1; ms <= 100; ms++) timer.record(ms);
  nowMs = 10_000;
  const { text } = await metrics.scrape();
  assert.match(text, /^# TYPE Master_Sync summary$/m);
  assert.match(text, /^Master_Sync\{quantile="0.5"\} 0.05$/m);
  assert.match(text, /^Master_Sync_count 100$/m);
  assert.doesNotMatch(text, /LeaderId/);
  const json = metrics.json();
  assert.deepEqual(json.gauges, {
    "Master.Paths": { value: 7 },
    "Cluster.LeaderId": { value: "m1_19200" },
  });
  assert.deepEqual(json.counters, { "Master.Ops": { count: 3 } });
  const sync = json.timers["Master.Sync"];
  assert.equal(sync?.["count"], 100);
  assert.equal(sync?.["p99"], 0.099);
  assert.equal(sync?.["max"], 0.1);
  assert.equal(sync?.["mean_rate"], 10);
  assert.equal(sync?.["m1_rate"], 10);
  assert.equal(sync?.["duration_units"], "seconds");
});

test("Timer keeps the newest durations and counts all; Rates fade", () => {
  const timer = new Timer(3);
  for (const ms of [1, 2, 3, 4]) timer.record(ms);
  assert.deepEqual(timer.read(), { count: 4, samplesMs: [4, 2, 3] });
  assert.equal(statisticsOf([]).p99, 0);
  const rates = new Rates(0);
  assert.equal(rates.read(60, 60_000).m1, 1);
  const quiet = rates.read(60, 120_000);
  assert.ok(quiet.m1 > 0.3 && quiet.m1 < 0.4, `${quiet.m1}`);
  assert.ok(quiet.m15 > quiet.m5 && quiet.m5 > quiet.m1);
  assert.equal(quiet.mean, 0.5);
});

test("events are counted for whoever asks", () => {
  const metrics = createMetrics();
  metrics.countEvent("persist", "filePersisted");
  metrics.countEvent("persist", "filePersisted");
  assert.equal(metrics.eventCount("persist", "filePersisted"), 2);
  assert.equal(metrics.eventCount("persist", "none"), 0);
  metrics.countCall("/a.B/Rename", 0, 1);
  metrics.countCall("/a.B/Rename", 5, 3);
  assert.deepEqual([metrics.callCount("Rename"), metrics.callTotal("Rename")], [1, 2]);
  assert.deepEqual(metrics.callTimes(), { count: 2, samplesMs: [1, 3] });
});
