import assert from "node:assert/strict";
import { test } from "node:test";
import { metricsJson, metricsLines, proxyLines } from "./admin_report.ts";
import { toYaml } from "./output.ts";

test("metricsLines() are those of Alluxio 2.9.4", () => {
  const metrics = new Map([
    ["Cluster.Workers", { type: "GAUGE", value: 2 }],
    ["Cluster.BytesReadCache", { type: "COUNTER", value: 513 }],
    ["Cluster.BytesReadRemoteThroughput", { type: "GAUGE", value: 2048.7 }],
    ["Master.Ratio", { type: "GAUGE", value: 0.1234567 }],
    ["Master.TotalPaths", { type: "GAUGE", value: 1234567 }],
    ["Cluster.LeaderId", { type: "GAUGE", value: "localhost:19998" }],
  ]);
  assert.deepEqual(metricsLines(metrics), [
    "Cluster.BytesReadCache  (Type: COUNTER, Value: 513B)",
    "Cluster.BytesReadRemoteThroughput  (Type: GAUGE, Value: 2048B/MIN)",
    "Cluster.LeaderId  (Type: GAUGE, Value: localhost:19998)",
    "Cluster.Workers  (Type: GAUGE, Value: 2)",
    "Master.Ratio  (Type: GAUGE, Value: .12346)",
    "Master.TotalPaths  (Type: GAUGE, Value: 1,234,567)",
  ]);
  assert.equal(
    toYaml(metricsJson(new Map([["Cluster.Workers", { type: "GAUGE", value: 2 }]]))),
    '\nCluster.Workers:\n  type: "GAUGE"\n  value: 2',
  );
});

test("proxyLines() count proxies, and list them", () => {
  const at = new Date(2026, 10, 21, 11, 2, 6).getTime();
  const proxy = { startedMs: at, lastHeartbeatMs: at, version: "2.9.4", revision: "r" };
  const [title, , , first] = proxyLines([
    { address: "h1:39999", state: "ACTIVE", ...proxy },
    { address: "h2:39999", state: "LOST", ...proxy },
  ]);
  assert.equal(title, "2 Proxy instances in the cluster, 1 serving and 1 lost");
  assert.match(
    first ?? "",
    /^h1:39999 {17}ACTIVE {3}20261121-110206 {2}20261121-110206 {6}2\.9\.4 /,
  );
});
