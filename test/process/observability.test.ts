/**
 * What operators look at, from real processes: metrics in both forms and by the shell, the dashboard's names against a live scrape, the
 * audit log, slow operations, levels that change while a master runs.
 * @module
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { nodeDir } from "../../src/local/cluster_files.ts";
import { LocalCluster } from "./local_cluster.ts";

type Json = {
  readonly gauges: Readonly<Record<string, { readonly value: number | string }>>;
  readonly counters: Readonly<Record<string, { readonly count: number }>>;
  readonly timers: Readonly<Record<string, Readonly<Record<string, number>>>>;
};

/** Of the HA metrics that dashboards look for first: all that are measured here. */
const HA_NAMES = [
  "Master.RoleId",
  "Master.LastGainPrimacyTime",
  "Master.LastLosePrimacyTime",
  "Master.JournalGainPrimacyTimer",
  "Master.JournalSequenceNumber",
  "Master.JournalLastAppliedCommitIndex",
  "Master.JournalEntriesSinceCheckPoint",
  "Master.JournalLastCheckPointTime",
  "Master.JournalFlushTimer",
  "Master.JournalFlushFailure",
  "Master.JournalFreeBytes",
  "Master.JournalFreePercent",
  "Master.EmbeddedJournalSnapshotGenerateTimer",
  "Master.EmbeddedJournalSnapshotInstallTimer",
  "Master.TotalPaths",
  "Master.UniqueBlocks",
  "Master.LostBlockCount",
  "Master.LostFileCount",
  "Master.FilesPinned",
];

describe("what operators look at", () => {
  let cluster: LocalCluster;
  let leader: number;

  const web = (kind: "master" | "worker", number: number) =>
    `http://localhost:${cluster.node(kind, number).webPort}`;
  const json = async (kind: "master" | "worker", number: number) =>
    (await (await fetch(`${web(kind, number)}/metrics/json/`)).json()) as Json;
  const scrape = async (kind: "master" | "worker", number: number) =>
    (await fetch(`${web(kind, number)}/metrics/prometheus/`)).text();

  async function run(...words: readonly string[]): Promise<string> {
    const { exit, stdout, stderr } = await cluster.cli(...words);
    assert.equal(exit, 0, `${words.join(" ")}: ${stdout}${stderr}`);
    return stdout;
  }

  before(async () => {
    cluster = await LocalCluster.start({
      masters: 3,
      workers: 1,
      definitions: [
        "alluxio.master.audit.logging.enabled=true",
        "rockpool.slow.operation.threshold=1ms",
      ],
    });
    leader = await cluster.leader();
    const local = join(cluster.dir, "text");
    await writeFile(local, "x".repeat(100_000));
    await run("fs", "mkdir", "/d");
    await run("fs", "copyFromLocal", local, "/d/f");
    await run("fs", "cat", "/d/f");
    assert.notEqual((await cluster.cli("fs", "rm", "/none")).exit, 0);
  });
  after(async () => {
    await cluster?.stop();
  });

  test("S0-34 masters serve the HA metrics by Alluxio's names, standbys too, in both forms", async () => {
    for (const number of [1, 2, 3]) {
      const { gauges, counters, timers } = await json("master", number);
      const text = await scrape("master", number);
      for (const name of HA_NAMES) {
        assert.ok(name in gauges || name in counters || name in timers, `${name} of ${number}`);
        assert.match(text, new RegExp(`^${name.replace(".", "_")}(_count)?[ {]`, "m"));
      }
      assert.equal(gauges["Master.RoleId"]?.value, Number(number === leader));
      assert.match(String(gauges["Cluster.LeaderId"]?.value), /^localhost_\d+$/);
    }
  });

  test("values are true: calls, journal, traffic of the workers, paths", async () => {
    await cluster.until("the workers' traffic is told to the masters", async () => {
      const { counters } = await json("master", leader);
      return (counters["Cluster.BytesReadRemote"]?.count ?? 0) >= 100_000;
    });
    await cluster.until("the paths are counted", async () => {
      const { gauges } = await json("master", leader);
      return gauges["Master.TotalPaths"]?.value === 3 && gauges["Master.UniqueBlocks"]?.value === 1;
    });
    const { gauges, counters, timers } = await json("master", leader);
    assert.equal(counters["Cluster.BytesWrittenRemote"]?.count, 100_000);
    assert.equal(counters["Master.DirectoriesCreated"]?.count, 1);
    assert.equal(counters["Master.FilesCompleted"]?.count, 1);
    assert.ok(
      (counters["Master.DeletePathOps"]?.count ?? 0) >=
        (counters["Master.PathsDeleted"]?.count ?? 0),
    );
    assert.ok((timers["Master.JournalFlushTimer"]?.["count"] ?? 0) > 0);
    assert.ok((timers["Master.JournalFlushTimer"]?.["p50"] ?? 0) > 0);
    assert.ok((timers["Master.TotalRpcs"]?.["count"] ?? 0) > 5);
    assert.equal(gauges["Cluster.Workers"]?.value, 1);
    assert.equal(gauges["Master.LostBlockCount"]?.value, 0);
    const worker = await json("worker", 1);
    assert.equal(
      worker.counters["Worker.BytesReadRemote"]?.count,
      counters["Cluster.BytesReadRemote"]?.count,
    );
    assert.equal(worker.counters["Worker.BytesWrittenRemote"]?.count, 100_000);
  });

  test("fsadmin report metrics shows the same registry", async () => {
    const report = await run("fsadmin", "report", "metrics");
    const { gauges, counters } = await json("master", leader);
    for (const name of [...Object.keys(gauges), ...Object.keys(counters)])
      assert.ok(report.includes(name), `${name} is reported`);
    assert.match(report, /Cluster\.BytesWrittenRemote\s+\(Type: COUNTER, Value: /);
  });

  test("every metric of the Grafana dashboard exists in a live scrape", async () => {
    const served = new Set(
      [await scrape("master", leader), await scrape("worker", 1)]
        .flatMap((text) => text.split("\n"))
        .flatMap((line) => /^([A-Za-z_:][\w:]*)/.exec(line)?.[1] ?? []),
    );
    const text = readFileSync("conf/grafana-dashboard.json", "utf8");
    const dashboard = JSON.parse(text) as {
      readonly panels: readonly { readonly targets?: readonly { readonly expr: string }[] }[];
    };
    const expressions = dashboard.panels.flatMap(({ targets = [] }) =>
      targets.map(({ expr }) => expr),
    );
    assert.ok(expressions.length > 20);
    const names = expressions.flatMap(
      (expr) => expr.match(/\b(Master|Cluster|Worker|Rockpool|process|nodejs)_\w+/g) ?? [],
    );
    for (const name of new Set(names)) assert.ok(served.has(name), `${name} is served`);
    for (const expr of expressions) assert.match(expr, /_/, `${expr} names a metric`);
  });

  test("the audit log has a line for each request of a client, with who, what and how it ended", async () => {
    const folder = nodeDir(cluster.dir, cluster.node("master", leader));
    const path = join(folder, "logs", "master_audit.log");
    const lines = () => readFileSync(path, "utf8").split("\n");
    await cluster.until("the log is written", () =>
      lines().some((line) => line.includes("cmd=completeFile")),
    );
    const of = (command: string) => lines().find((line) => line.includes(`cmd=${command}\t`)) ?? "";
    assert.match(
      of("mkdir"),
      /succeeded=true\tallowed=true\tugi=\S+ \(AUTH=SIMPLE\)\tip=\S+:\d+\tcmd=mkdir\tsrc=\/d\tdst=null\tperm=\S+:\S+:rwxr-xr-x\texecutionTimeUs=\d+$/,
    );
    assert.match(of("completeFile"), /src=\/d\/f.*perm=\S+:rw-r--r--/);
    const web = await run("fs", "mkdir", "/audited");
    assert.ok(web);
    await cluster.until("the next line is written", () =>
      lines().some((line) => line.includes("src=/audited")),
    );
    const failed = lines().find((line) => line.includes("src=/none"));
    assert.match(failed ?? "", /succeeded=false\tallowed=true\t.*perm=null/);
  });

  test("slow operations are logged with where the time went", async () => {
    await cluster.until("a slow one is logged", () =>
      cluster.log("master", leader).includes("operation took long"),
    );
    const line = cluster
      .log("master", leader)
      .split("\n")
      .find((each) => each.includes("command=createFile"));
    assert.match(
      line ?? "",
      /WARN {2}slow operation took long command=createFile path=\/d\/f user=\S+ peer=\S+ succeeded=true tookMs=\d+ queueMs=\d+ journalMs=\d+ applyMs=\d+ underStoreMs=\d+ restMs=\d+$/,
    );
  });

  test("levels change while a master runs, for one part alone", async () => {
    const url = `${web("master", leader)}/api/v1/master/logLevel`;
    const set = (logName: string, level: string) =>
      fetch(`${url}?logName=${logName}&level=${level}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: "{}",
      });
    const count = () => cluster.log("master", leader).split(" WARN  slow ").length;
    assert.equal((await set("slow", "ERROR")).status, 200);
    const before = count();
    await run("fs", "mkdir", "/quiet");
    assert.equal(count(), before);
    assert.equal((await set("slow", "INFO")).status, 200);
    await run("fs", "mkdir", "/loud");
    await cluster.until("it is logged again", () => count() > before);
    assert.equal((await set("nobody", "INFO")).status, 404);
  });

  test("S0-4 a master without a quorum answers everything at once, and says that nobody leads", async () => {
    const alone = [1, 2, 3].find((number) => number !== leader) ?? 0;
    for (const number of [1, 2, 3]) if (number !== alone) cluster.kill("master", number, "SIGKILL");
    const ask = (path: string) =>
      fetch(`${web("master", alone)}/${path}`, { signal: AbortSignal.timeout(5_000) });
    await cluster.until("it knows", async () => (await ask("leader")).status === 503);
    assert.equal((await ask("healthz")).status, 503);
    for (const path of ["info", "webui_overview", "webui_masters", "webui_workers", "webui_config"])
      assert.equal((await ask(`api/v1/master/${path}`)).status, 200, path);
    for (const path of ["webui_browse", "webui_data", "download?path=/d/f"]) {
      const response = await ask(`api/v1/master/${path}`);
      assert.equal(response.status, 503, path);
      assert.equal(((await response.json()) as { leader: unknown }).leader, null);
    }
    assert.equal((await ask("metrics/prometheus/")).status, 200);
  });
});
