import assert from "node:assert/strict";
import { test } from "node:test";
import type { ClusterInfo, WorkerStatus } from "../client/file_status.ts";
import { inUnit } from "./conf_get.ts";
import { toYaml } from "./output.ts";
import { capacityLines, formatUptime, nodeLines, summaryLines } from "./report.ts";

const MB = 1024 * 1024;
const STARTED_MS = new Date(2026, 10, 21, 11, 2, 6, 35).getTime();

const INFO: ClusterInfo = {
  leaderAddress: "localhost/<unresolved>:23998",
  masterAddresses: ["localhost:23998", "localhost:22998"],
  webPort: 23_999,
  rpcPort: 23_998,
  startedMs: STARTED_MS,
  upTimeMs: (24 * 60 + 42) * 1000,
  version: "2.9.4",
  isInSafeMode: false,
  clusterId: "",
  zookeeperAddresses: [],
  isRaftJournal: true,
  raftAddresses: ["localhost:29200"],
  masters: [
    { address: "localhost:23998", state: "PRIMARY", version: "2.9.4" },
    { address: "localhost:22998", state: "STANDBY", version: "2.9.4" },
  ],
};

function worker(capacityBytes: number, usedBytes: number, isLive = true): WorkerStatus {
  return {
    id: 7n,
    address: {
      host: "localhost",
      containerHost: "",
      rpcPort: 29_999,
      dataPort: 29_999,
      webPort: 30_000,
      domainSocketPath: "",
      tiers: [],
    },
    isLive,
    state: isLive ? "LIVE" : "LOST",
    lastContactSeconds: 0,
    startedMs: 0,
    capacityBytes,
    usedBytes,
    capacityBytesOnTiers: new Map([["MEM", capacityBytes]]),
    usedBytesOnTiers: new Map([["MEM", usedBytes]]),
    version: "2.9.4",
    revision: "e9fc22f",
    vcpuCount: 2,
  };
}

test("summaryLines() prints Alluxio's report", () => {
  assert.equal(
    summaryLines(INFO, [worker(2048 * MB, 256 * MB)]).join("\n"),
    `Alluxio cluster summary: 
    Master Address: localhost/<unresolved>:23998
    Web Port: 23999
    Rpc Port: 23998
    Started: 11-21-2026 11:02:06:035
    Uptime: 0 day(s), 0 hour(s), 24 minute(s), and 42 second(s)
    Version: 2.9.4
    Safe Mode: false
    Zookeeper Enabled: false
    Raft-based Journal: true
    Raft Journal Addresses: 
        localhost:29200
    Master Address                   State    Version
    localhost:23998                  PRIMARY  2.9.4
    localhost:22998                  STANDBY  2.9.4
    Live Workers: 1
    Lost Workers: 0
    Total Capacity: 2048.00MB
        Tier: MEM  Size: 2048.00MB
    Used Capacity: 256.00MB
        Tier: MEM  Size: 256.00MB
    Free Capacity: 1792.00MB`,
  );
});

test("capacityLines() prints Alluxio's table", () => {
  assert.equal(
    capacityLines([worker(512 * MB, 175)], "all").join("\n"),
    `Capacity information for all workers: 
    Total vCPUs: 2
    Total Capacity: 512.00MB
        Tier: MEM  Size: 512.00MB
    Used Capacity: 175B
        Tier: MEM  Size: 175B
    Used Percentage: 0%
    Free Percentage: 100%

Worker Name      State           Last Heartbeat   Storage       MEM              Version          Revision
localhost        ACTIVE          0                capacity      512.00MB         2.9.4            e9fc22f
                                                  used          175B (0%)`,
  );
});

test("capacityLines() shows lost workers and tiers that only some have", () => {
  const ssd = {
    ...worker(512 * MB, 0, false),
    capacityBytesOnTiers: new Map([["SSD", 512 * MB]]),
    usedBytesOnTiers: new Map<string, number>(),
  };
  const lines = capacityLines([worker(512 * MB, 256 * MB), ssd], "all");
  assert.deepEqual(lines.slice(-5), [
    "Worker Name      State           Last Heartbeat   Storage       MEM              SSD              Version          Revision",
    "localhost        ACTIVE          0                capacity      512.00MB         -                2.9.4            e9fc22f",
    "                                                  used          256.00MB (50%)   -",
    "localhost        LOST            0                capacity      -                512.00MB         2.9.4            e9fc22f",
    "                                                  used          -                0B (0%)",
  ]);
});

test("nodeLines() names id, address and state", () => {
  assert.deepEqual(nodeLines([worker(1, 0), worker(1, 0, false)]), [
    "WorkerId               Address                          Status",
    "7                      localhost:29999                  ACTIVE",
    "7                      localhost:29999                  LOST",
  ]);
});

test("formatUptime() counts days", () => {
  assert.equal(
    formatUptime(((2 * 24 + 3) * 3600 + 4 * 60 + 5) * 1000),
    "2 day(s), 3 hour(s), 4 minute(s), and 5 second(s)",
  );
});

test("toYaml() writes block style", () => {
  assert.equal(
    toYaml({ a: "x", b: [1, "y"], c: { d: true }, e: [], f: {} }).trimStart(),
    'a: "x"\nb:\n  - 1\n  - "y"\nc:\n  d: true\ne: []\nf: {}',
  );
});

test("inUnit() gives sizes and times in other units", () => {
  assert.equal(inUnit("64MB", "KB"), "65536");
  assert.equal(inUnit("10s", "ms"), "10000");
  assert.equal(inUnit("10s", "h"), "0");
  assert.equal(inUnit("text", "MB"), null);
  assert.equal(inUnit("64MB", "parsec"), null);
});
