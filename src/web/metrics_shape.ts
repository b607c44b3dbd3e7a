/**
 * Alluxio's `webui_metrics`: texts of what the master's metrics say. What is not measured here is left out.
 * @module
 */
import { formatSize } from "../common/units.ts";
import type { MetricsJson } from "../telemetry/metrics.ts";
import type { MasterStatus } from "./api_types.ts";
import { percentOf, sumOf } from "./shapes.ts";

const percentText = (share: number) => (100 * share).toFixed(2);

function operations({ counters, gauges }: MetricsJson, prefix: string) {
  const named = (name: string) => name.startsWith(prefix);
  return {
    rpcInvocationMetrics: Object.fromEntries(
      Object.entries(counters)
        .filter(([name]) => named(name) && name.endsWith("Ops"))
        .map(([name, value]) => [name.slice(prefix.length), value]),
    ),
    operationMetrics: Object.fromEntries([
      ...Object.entries(counters)
        .filter(([name]) => named(name) && !name.endsWith("Ops"))
        .map(([name, value]) => [name.slice(prefix.length), value]),
      ...Object.entries(gauges)
        .filter(([name, { value }]) => named(name) && typeof value === "number")
        .map(([name, value]) => [name.slice(prefix.length), value]),
    ]),
  };
}

export function masterMetrics(metrics: MetricsJson, status: MasterStatus) {
  const counter = (name: string) => formatSize(metrics.counters[`Cluster.${name}`]?.count ?? 0);
  const gauge = (name: string) => Number(metrics.gauges[`Cluster.${name}`]?.value ?? 0);
  const tiers = status.workers
    .filter(({ state }) => state === "live")
    .flatMap((worker) => worker.tiers);
  const used = percentOf(sumOf(tiers, "usedBytes"), sumOf(tiers, "capacityBytes"));
  const { rootSpace } = status;
  const ufsUsed = rootSpace === null ? 0 : percentOf(rootSpace.usedBytes, rootSpace.capacityBytes);
  const hitRate = gauge("CacheHitRate");
  return {
    masterCapacityFreePercentage: 100 - used,
    masterCapacityUsedPercentage: used,
    masterUnderfsCapacityFreePercentage: 100 - ufsUsed,
    masterUnderfsCapacityUsedPercentage: ufsUsed,
    cacheHitRemote: percentText(hitRate),
    cacheMiss: percentText(1 - hitRate),
    totalBytesReadRemote: counter("BytesReadRemote"),
    totalBytesReadRemoteThroughput: formatSize(gauge("BytesReadRemoteThroughput")),
    totalBytesReadUfs: counter("BytesReadUfsAll"),
    totalBytesReadUfsThroughput: formatSize(gauge("BytesReadUfsThroughput")),
    totalBytesWrittenLocal: counter("BytesWrittenLocal"),
    totalBytesWrittenLocalThroughput: formatSize(gauge("BytesWrittenLocalThroughput")),
    totalBytesWrittenAlluxio: counter("BytesWrittenRemote"),
    totalBytesWrittenAlluxioThroughput: formatSize(gauge("BytesWrittenRemoteThroughput")),
    totalBytesWrittenUfs: counter("BytesWrittenUfsAll"),
    totalBytesWrittenUfsThroughput: formatSize(gauge("BytesWrittenUfsThroughput")),
    ...operations(metrics, "Master."),
  };
}
