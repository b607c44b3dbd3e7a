/**
 * The configurations that standbys and workers have reported: soft state of every master, compared by the leader.
 *
 * Workers report to all masters when they register; standbys to the leader, again after every change of it. Bounded in
 * number, in length and in age.
 * @module
 */
import { createHash } from "node:crypto";
import type { WorkerId } from "../common/ids.ts";
import type { NodeConfiguration, ReportedProperty } from "../conf/consistency.ts";
import type { ConfigProperty } from "../proto/gen/common.ts";
import type { Clock } from "../world/ports.ts";
import type { BlockMaster } from "./api.ts";

/** Far beyond any quorum; bounds what a caller can make us remember. */
const MASTERS_MAX = 64;
const PROPERTIES_MAX = 5000;
const TEXT_LENGTH_MAX = 8192;

const DIRECTORIES_MAX = 1000;

type LostDirectories = ReadonlyMap<string, { readonly storage: readonly string[] }>;

type MasterReport = {
  readonly address: string;
  properties: ReadonlyMap<string, ReportedProperty> | null;
  /** Monotonic. */
  heardAtMs: number;
};

/** @returns what of a report is kept */
function kept(configs: readonly ConfigProperty[]): ReadonlyMap<string, ReportedProperty> {
  const cut = (text: string) => text.slice(0, TEXT_LENGTH_MAX);
  return new Map(
    configs
      .slice(0, PROPERTIES_MAX)
      .map(({ name = "", value, source = "" }) => [
        cut(name),
        { value: value === undefined ? null : cut(value), source: cut(source) },
      ]),
  );
}

function idOf(address: string): bigint {
  return createHash("sha256").update(address).digest().readBigUInt64BE() >> 1n;
}

export class ConfigReports {
  readonly #clock: Clock;
  readonly #standbyTimeoutMs: () => number;
  readonly #masters = new Map<bigint, MasterReport>();
  readonly #lost = new Map<WorkerId, Map<string, readonly string[]>>();
  readonly #workers = new Map<WorkerId, ReadonlyMap<string, ReportedProperty>>();

  constructor(clock: Clock, standbyTimeoutMs: () => number) {
    this.#clock = clock;
    this.#standbyTimeoutMs = standbyTimeoutMs;
  }

  /** The id of a standby at "host:rpcPort": the same on every master. */
  masterIdOf(address: string): bigint {
    const id = idOf(address);
    if (!this.#masters.has(id)) {
      const [oldest] = this.#masters.keys();
      if (this.#masters.size >= MASTERS_MAX && oldest !== undefined) this.#masters.delete(oldest);
      this.#masters.set(id, { address, properties: null, heardAtMs: this.#clock.monotonicMs() });
    }
    return id;
  }

  /** @returns false when nobody has that id: it was asked of another master */
  registerMaster(id: bigint, configs: readonly ConfigProperty[]): boolean {
    const report = this.#masters.get(id);
    if (report === undefined) return false;
    report.properties = kept(configs);
    report.heardAtMs = this.#clock.monotonicMs();
    return true;
  }

  /** @returns whether its configuration is known; else it has to register */
  heard(id: bigint): boolean {
    const report = this.#masters.get(id);
    if (report === undefined || report.properties === null) return false;
    report.heardAtMs = this.#clock.monotonicMs();
    return true;
  }

  registerWorker(id: WorkerId, configs: readonly ConfigProperty[]): void {
    if (configs.length > 0) this.#workers.set(id, kept(configs));
  }

  /** Directories of a worker that failed, by tier; a registration says all of them, a heartbeat more. */
  noteLostStorage(id: WorkerId, lost: LostDirectories, isAll: boolean): void {
    const known = isAll ? new Map<string, readonly string[]>() : (this.#lost.get(id) ?? new Map());
    for (const [tier, { storage }] of lost) {
      const paths = new Set([...(known.get(tier) ?? []), ...storage.slice(0, DIRECTORIES_MAX)]);
      known.set(tier, [...paths].slice(0, DIRECTORIES_MAX));
    }
    if (known.size === 0) this.#lost.delete(id);
    else this.#lost.set(id, known);
  }

  /** Of workers that live. */
  lostStorage(blocks: Pick<BlockMaster, "workers">) {
    const known = blocks.workers();
    const ids = new Set(known.map(({ id }) => id));
    for (const id of this.#lost.keys()) if (!ids.has(id)) this.#lost.delete(id);
    return known.flatMap(({ id, isLive, address }) => {
      const lost = this.#lost.get(id);
      return isLive && lost !== undefined ? [{ address, lost }] : [];
    });
  }

  /**
   * The configurations of all that are there and have reported, that of this master first.
   * @param self this master as it would report itself
   */
  nodes(
    self: { readonly address: string; readonly configs: readonly ConfigProperty[] },
    blocks: Pick<BlockMaster, "workers">,
  ): readonly NodeConfiguration[] {
    const nowMs = this.#clock.monotonicMs();
    const nodes: NodeConfiguration[] = [
      { kind: "master", address: self.address, properties: kept(self.configs) },
    ];
    for (const [id, { address, properties, heardAtMs }] of this.#masters) {
      if (nowMs - heardAtMs >= this.#standbyTimeoutMs()) this.#masters.delete(id);
      else if (properties !== null && address !== self.address)
        nodes.push({ kind: "master", address, properties });
    }
    const known = blocks.workers();
    const ids = new Set(known.map(({ id }) => id));
    for (const id of this.#workers.keys()) if (!ids.has(id)) this.#workers.delete(id);
    for (const { id, isLive, address } of known) {
      const properties = this.#workers.get(id);
      if (isLive && properties !== undefined)
        nodes.push({ kind: "worker", address: `${address.host}:${address.rpcPort}`, properties });
    }
    return nodes;
  }
}
