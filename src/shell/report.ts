/**
 * The texts of `info report` and `info nodes`. Pure. Tools parse them: shapes are Alluxio 2.9.4's.
 * @module
 */
import type { ClusterInfo, WorkerStatus } from "../client/file_status.ts";
import { formatSize } from "../common/units.ts";
import { formatTime } from "./listing.ts";
import type { Json } from "./output.ts";

/** "0 day(s), 0 hour(s), 24 minute(s), and 42 second(s)". */
export function formatUptime(durationMs: number): string {
  const seconds = Math.max(0, Math.floor(durationMs / 1000));
  const [days, hours] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3600) % 24];
  const minutes = Math.floor(seconds / 60) % 60;
  return `${days} day(s), ${hours} hour(s), ${minutes} minute(s), and ${seconds % 60} second(s)`;
}

const TIER_ORDER = ["MEM", "SSD", "HDD"];

function compareTiers(a: string, b: string): number {
  const rank = (tier: string) => (TIER_ORDER.includes(tier) ? TIER_ORDER.indexOf(tier) : 99);
  return rank(a) - rank(b) || (a < b ? -1 : 1);
}

function sumOnTiers(
  workers: readonly WorkerStatus[],
  tiers: (worker: WorkerStatus) => ReadonlyMap<string, number>,
): readonly (readonly [string, number])[] {
  const sums = new Map<string, number>();
  for (const worker of workers)
    for (const [tier, bytes] of tiers(worker)) sums.set(tier, (sums.get(tier) ?? 0) + bytes);
  return [...sums].sort(([a], [b]) => compareTiers(a, b));
}

function sum(workers: readonly WorkerStatus[], of: (worker: WorkerStatus) => number): number {
  return workers.reduce((total, worker) => total + of(worker), 0);
}

/** Taken out of service by an administrator. */
export function isDecommissioned({ state }: WorkerStatus): boolean {
  return /^(decommissioned|disabled)$/i.test(state);
}

function stateOf(worker: WorkerStatus): string {
  if (worker.isLive) return "ACTIVE";
  if (isDecommissioned(worker)) return worker.state.toUpperCase();
  return worker.state === "" ? "LOST" : worker.state;
}

const capacityOf = (worker: WorkerStatus) => worker.capacityBytes;
const usedOf = (worker: WorkerStatus) => worker.usedBytes;
const capacityTiers = (worker: WorkerStatus) => worker.capacityBytesOnTiers;
const usedTiers = (worker: WorkerStatus) => worker.usedBytesOnTiers;

function amountLines(
  label: string,
  total: number,
  tiers: readonly (readonly [string, number])[],
): string[] {
  return [
    `    ${label}: ${formatSize(total)}`,
    ...tiers.map(([tier, bytes]) => `        Tier: ${tier}  Size: ${formatSize(bytes)}`),
  ];
}

/** Scripts cut the address out of this very form: an address of Java that no name server was asked about. */
function asJavaPrints(address: string): string {
  return address.replace(/^([^/]+):(\d+)$/, "$1/<unresolved>:$2");
}

/** @param workers live and lost */
export function summaryLines(info: ClusterInfo, workers: readonly WorkerStatus[]): string[] {
  const live = workers.filter((worker) => worker.isLive);
  const lines = [
    "Alluxio cluster summary: ",
    `    Master Address: ${asJavaPrints(info.leaderAddress)}`,
    `    Web Port: ${info.webPort}`,
    `    Rpc Port: ${info.rpcPort}`,
    `    Started: ${formatTime(info.startedMs)}`,
    `    Uptime: ${formatUptime(info.upTimeMs)}`,
    `    Version: ${info.version}`,
    `    Safe Mode: ${info.isInSafeMode}`,
    `    Zookeeper Enabled: ${info.zookeeperAddresses.length > 0}`,
  ];
  if (info.zookeeperAddresses.length > 0) {
    lines.push("    Zookeeper Addresses: ");
    for (const address of info.zookeeperAddresses) lines.push(`        ${address}`);
  }
  lines.push(`    Raft-based Journal: ${info.isRaftJournal}`);
  if (info.isRaftJournal) {
    lines.push("    Raft Journal Addresses: ");
    for (const address of info.raftAddresses) lines.push(`        ${address}`);
  }
  const row = (address: string, state: string, version: string) =>
    `    ${address.padEnd(32)} ${state.padEnd(8)} ${version}`;
  lines.push(row("Master Address", "State", "Version"));
  for (const master of info.masters) lines.push(row(master.address, master.state, master.version));
  const gone = workers.filter(isDecommissioned).length;
  lines.push(
    `    Live Workers: ${live.length}`,
    `    Lost Workers: ${workers.length - live.length - gone}`,
  );
  if (gone > 0) lines.push(`    Decommissioned Workers: ${gone}`);
  const capacity = sum(live, capacityOf);
  const used = sum(live, usedOf);
  lines.push(...amountLines("Total Capacity", capacity, sumOnTiers(live, capacityTiers)));
  lines.push(...amountLines("Used Capacity", used, sumOnTiers(live, usedTiers)));
  lines.push(`    Free Capacity: ${formatSize(capacity - used)}`);
  return lines;
}

function percent(part: number, whole: number): number {
  return whole === 0 ? 0 : Math.floor((part * 100) / whole);
}

function workerRow(columns: readonly string[]): string {
  const widths = [16, 15, 16, 13];
  const last = columns.length - 1;
  return columns
    .map((column, at) => (at === last ? column : column.padEnd(widths[at] ?? 16)))
    .join(" ")
    .trimEnd();
}

/** @param which "all", "live", "lost" or "specified" workers, for the title */
export function capacityLines(workers: readonly WorkerStatus[], which: string): string[] {
  if (workers.length === 0) return ["No workers found."];
  const capacity = sum(workers, capacityOf);
  const used = sum(workers, usedOf);
  const usedPercent = percent(used, capacity);
  const tiers = sumOnTiers(workers, capacityTiers);
  const lines = [
    `Capacity information for ${which} workers: `,
    `    Total vCPUs: ${sum(workers, (worker) => worker.vcpuCount)}`,
    ...amountLines("Total Capacity", capacity, tiers),
    ...amountLines("Used Capacity", used, sumOnTiers(workers, usedTiers)),
    `    Used Percentage: ${usedPercent}%`,
    `    Free Percentage: ${capacity === 0 ? 0 : 100 - usedPercent}%`,
    "",
  ];
  const names = tiers.map(([tier]) => tier);
  const head = ["Worker Name", "State", "Last Heartbeat", "Storage"];
  lines.push(workerRow([...head, ...names, "Version", "Revision"]));
  for (const worker of workers) {
    const state = stateOf(worker);
    const seen = String(worker.lastContactSeconds);
    const sizes = names.map((tier) => {
      const size = worker.capacityBytesOnTiers.get(tier);
      return size === undefined ? "-" : formatSize(size);
    });
    const usage = names.map((tier) => {
      const size = worker.capacityBytesOnTiers.get(tier);
      if (size === undefined) return "-";
      const taken = worker.usedBytesOnTiers.get(tier) ?? 0;
      return `${formatSize(taken)} (${percent(taken, size)}%)`;
    });
    const { version, revision, address } = worker;
    lines.push(
      workerRow([address.host, state, seen, "capacity", ...sizes, version, revision]),
      workerRow(["", "", "", "used", ...usage]),
    );
  }
  return lines;
}

/** `info nodes`: one line a worker. */
export function nodeLines(workers: readonly WorkerStatus[]): string[] {
  const row = (id: string, address: string, state: string) =>
    `${id.padEnd(22)} ${address.padEnd(32)} ${state}`;
  return [
    row("WorkerId", "Address", "Status"),
    ...workers.map((worker) =>
      row(String(worker.id), `${worker.address.host}:${worker.address.rpcPort}`, stateOf(worker)),
    ),
  ];
}

/** The same facts for programs. */
export function summaryJson(info: ClusterInfo, workers: readonly WorkerStatus[]): Json {
  const live = workers.filter((worker) => worker.isLive);
  const tiers = (of: (worker: WorkerStatus) => ReadonlyMap<string, number>) =>
    Object.fromEntries(sumOnTiers(live, of));
  const capacity = sum(live, capacityOf);
  const used = sum(live, usedOf);
  return {
    masterAddress: asJavaPrints(info.leaderAddress),
    webPort: info.webPort,
    rpcPort: info.rpcPort,
    started: formatTime(info.startedMs),
    uptime: formatUptime(info.upTimeMs),
    version: info.version,
    safeMode: info.isInSafeMode,
    zookeeperEnabled: info.zookeeperAddresses.length > 0,
    zookeeperAddress: info.zookeeperAddresses,
    useRaftJournal: info.isRaftJournal,
    raftJournalAddress: info.raftAddresses,
    masterVersions: info.masters.map(({ address, state, version }) => ({
      address,
      state,
      version,
    })),
    liveWorkers: live.length,
    lostWorkers: workers.filter((one) => !one.isLive && !isDecommissioned(one)).length,
    decommissionedWorkers: workers.filter(isDecommissioned).length,
    totalCapacity: formatSize(capacity),
    totalCapacityOnTiers: tiers(capacityTiers),
    usedCapacity: formatSize(used),
    usedCapacityOnTiers: tiers(usedTiers),
    freeCapacity: formatSize(capacity - used),
  };
}

export function capacityJson(workers: readonly WorkerStatus[]): Json {
  return {
    totalVcpus: sum(workers, (worker) => worker.vcpuCount),
    totalCapacityBytes: sum(workers, capacityOf),
    usedCapacityBytes: sum(workers, usedOf),
    workers: workers.map((worker) => ({
      id: String(worker.id),
      host: worker.address.host,
      rpcPort: worker.address.rpcPort,
      state: stateOf(worker),
      lastHeartbeatSeconds: worker.lastContactSeconds,
      capacityBytesOnTiers: Object.fromEntries(worker.capacityBytesOnTiers),
      usedBytesOnTiers: Object.fromEntries(worker.usedBytesOnTiers),
      version: worker.version,
      revision: worker.revision,
    })),
  };
}
