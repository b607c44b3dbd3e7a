/**
 * The texts of `report metrics` and `report proxy`. Pure. Shapes are Alluxio 2.9.4's.
 * @module
 */
import type { MetricValue, ProxyStatus } from "../client/cluster_admin.ts";
import { formatSize } from "../common/units.ts";
import type { Json } from "./output.ts";

const NUMBER = new Intl.NumberFormat("en-US", { maximumFractionDigits: 5 });

/** Bytes as sizes, throughputs by the minute, other numbers with at most five digits behind the point. */
function valueText(name: string, value: number | string): string {
  if (typeof value === "string") return value;
  if (!name.includes("Bytes")) return NUMBER.format(value).replace(/^(-?)0\./, "$1.");
  return `${formatSize(Math.trunc(value))}${name.includes("Throughput") ? "/MIN" : ""}`;
}

function byName<T>(values: ReadonlyMap<string, T>): [string, T][] {
  return [...values].sort(([a], [b]) => (a < b ? -1 : 1));
}

export function metricsLines(metrics: ReadonlyMap<string, MetricValue>): string[] {
  return byName(metrics).map(
    ([name, { type, value }]) => `${name}  (Type: ${type}, Value: ${valueText(name, value)})`,
  );
}

export function metricsJson(metrics: ReadonlyMap<string, MetricValue>): Json {
  return Object.fromEntries(
    byName(metrics).map(([name, { type, value }]) => [name, { type, value }]),
  );
}

/** yyyyMMdd-HHmmss, local time. */
function stamp(timeMs: number): string {
  const at = new Date(timeMs);
  const two = (value: number) => String(value).padStart(2, "0");
  const date = `${at.getFullYear()}${two(at.getMonth() + 1)}${two(at.getDate())}`;
  return `${date}-${two(at.getHours())}${two(at.getMinutes())}${two(at.getSeconds())}`;
}

export function proxyLines(proxies: readonly ProxyStatus[]): string[] {
  const serving = proxies.filter(({ state }) => state === "ACTIVE").length;
  const lost = proxies.filter(({ state }) => state === "LOST").length;
  const width = Math.max(24, ...proxies.map(({ address }) => address.length));
  const row = (columns: readonly string[]) => {
    const widths = [width, 8, 16, 20, 32, 8];
    return columns.map((column, at) => column.padEnd(widths[at] ?? 0)).join(" ");
  };
  return [
    `${proxies.length} Proxy instances in the cluster, ${serving} serving and ${lost} lost`,
    "",
    row(["Address", "State", "Start Time", "Last Heartbeat Time", "Version", "Revision"]),
    ...proxies.map(({ address, state, startedMs, lastHeartbeatMs, version, revision }) =>
      row([address, state, stamp(startedMs), stamp(lastHeartbeatMs), version, revision]),
    ),
  ];
}

export function proxyJson(proxies: readonly ProxyStatus[]): Json {
  return proxies.map((proxy) => ({ ...proxy }));
}
