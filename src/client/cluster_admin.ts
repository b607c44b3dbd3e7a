/**
 * What administrators ask of a cluster beyond its files: metrics, proxies, workers taken out of service.
 * @module
 */
import type { WorkerNetAddress } from "../common/file_facts.ts";
import { BlockMasterClientService } from "../proto/gen/block_master.ts";
import { BlockWorker } from "../proto/gen/block_worker.ts";
import { MetricType } from "../proto/gen/common.ts";
import { FileSystemMasterClientService } from "../proto/gen/file_system_master.ts";
import { MetaMasterClientService } from "../proto/gen/meta_master.ts";
import { MetricsMasterClientService } from "../proto/gen/metric_master.ts";
import type { MasterPort, WorkerPort } from "./ports.ts";

export type MetricValue = {
  /** COUNTER, GAUGE, METER, …: the master's own word. */
  readonly type: string;
  readonly value: number | string;
};

export type ProxyStatus = {
  /** "host:rpcPort". */
  readonly address: string;
  /** ACTIVE or LOST. */
  readonly state: string;
  readonly startedMs: number;
  readonly lastHeartbeatMs: number;
  readonly version: string;
  readonly revision: string;
};

/** A worker as it is named by the administrator: its web port tells apart workers of one host. */
export type NamedWorker = { readonly host: string; readonly webPort: number };

/** A cache of terabytes has hundred thousands of files to remove. */
const FREE_WORKER_MS = 10 * 60_000;
const CLEAR_METRICS_MS = 10_000;

export class ClusterAdmin {
  readonly #masters: MasterPort;
  readonly #workers: WorkerPort;

  constructor(masters: MasterPort, workers: WorkerPort) {
    this.#masters = masters;
    this.#workers = workers;
  }

  /** Of the leading master, by name. */
  async metrics(): Promise<ReadonlyMap<string, MetricValue>> {
    const { methods } = MetricsMasterClientService;
    const { metrics } = await this.#masters.unary(methods.GetMetrics, {}, null);
    const nameOf = (type: MetricType | undefined) =>
      Object.entries(MetricType).find(([, number]) => number === type)?.[0] ?? "GAUGE";
    return new Map(
      [...metrics].map(([name, one]) => [
        name,
        { type: nameOf(one.metricType), value: one.stringValue ?? one.doubleValue ?? 0 },
      ]),
    );
  }

  /** Sets those of the leading master back. */
  async clearMasterMetrics(): Promise<void> {
    await this.#masters.unary(MetricsMasterClientService.methods.ClearMetrics, {}, null);
  }

  async clearWorkerMetrics(worker: WorkerNetAddress): Promise<void> {
    await this.#workers.unary(worker, BlockWorker.methods.ClearMetrics, {}, CLEAR_METRICS_MS);
  }

  async proxies(): Promise<readonly ProxyStatus[]> {
    const { methods } = MetaMasterClientService;
    const { proxyStatuses } = await this.#masters.unary(methods.ListProxyStatus, {}, null);
    return proxyStatuses.map((proxy) => ({
      address: `${proxy.address?.host ?? ""}:${proxy.address?.rpcPort ?? 0}`,
      state: proxy.state ?? "",
      startedMs: proxy.startTime ?? 0,
      lastHeartbeatMs: proxy.lastHeartbeatTime ?? 0,
      version: proxy.version?.version ?? "",
      revision: proxy.version?.revision ?? "",
    }));
  }

  /** Who holds, or waits for, the lock that stops all changes. */
  async stateLockHolders(): Promise<readonly string[]> {
    const { methods } = FileSystemMasterClientService;
    return (await this.#masters.unary(methods.GetStateLockHolders, {}, null)).threads;
  }

  /** Drops all blocks of a worker that may be dropped; returns when they are gone. */
  async freeWorker(worker: WorkerNetAddress): Promise<void> {
    await this.#workers.unary(worker, BlockWorker.methods.FreeWorker, {}, FREE_WORKER_MS);
  }

  /** Takes a worker out of service: nobody is sent to it any more. */
  async decommission(worker: NamedWorker, canRegisterAgain: boolean): Promise<void> {
    await this.#masters.unary(
      BlockMasterClientService.methods.DecommissionWorker,
      { workerHostname: worker.host, workerWebPort: worker.webPort, canRegisterAgain },
      null,
    );
  }

  /** Lets a worker register again that was taken out of service for good. */
  async enable(worker: NamedWorker): Promise<void> {
    await this.#masters.unary(
      BlockMasterClientService.methods.RemoveDisabledWorker,
      { workerHostname: worker.host, workerWebPort: worker.webPort },
      null,
    );
  }
}
