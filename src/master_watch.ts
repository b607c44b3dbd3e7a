/**
 * What a master notes of itself for its operators: the audit log, slow operations, how long changes of leader and
 * checkpoints took, the workers' traffic, and a census of the namespace.
 * @module
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { isRockpoolError } from "./common/errors.ts";
import type { WorkerId } from "./common/ids.ts";
import { parsePath } from "./common/path.ts";
import { CommonKeys } from "./conf/common_keys.ts";
import { MasterKeys } from "./conf/master_keys.ts";
import type { DaemonContext } from "./daemon.ts";
import type { JournalEvent } from "./journal/journal_protocol.ts";
import type { CallWatchOptions, WatchedCall } from "./master/call_watch.ts";
import { Census } from "./master/census.ts";
import { targetOf } from "./master/inode_tree.ts";
import { WorkerMetrics } from "./master/worker_metrics.ts";
import type { MasterParts } from "./master_daemon.ts";
import { AuditLog, type AuditLogEvent } from "./telemetry/audit_log.ts";
import { Timer } from "./telemetry/timer.ts";

const AUDIT_FILE = "master_audit.log";

/** "rwxr-xr-x" of posix bits. */
export function modeText(mode: number): string {
  return [6, 3, 0]
    .map((shift) => {
      const bits = (mode >> shift) & 7;
      return `${bits & 4 ? "r" : "-"}${bits & 2 ? "w" : "-"}${bits & 1 ? "x" : "-"}`;
    })
    .join("");
}

/** How long what the journal reports took. */
export class JournalTimes {
  readonly gains = new Timer();
  readonly checkpoints = new Timer();
  readonly installs = new Timer();
  readonly fetches = new Timer();
  lastCheckpoint: { readonly tookMs: number; readonly sizeBytes: number } | null = null;
  lastFetch: { readonly tookMs: number; readonly sizeBytes: number } | null = null;
  lastInstallMs = 0;

  readonly onEvent = (event: JournalEvent): void => {
    if (event.kind === "checkpointMade") {
      this.checkpoints.record(event.tookMs);
      this.lastCheckpoint = event;
    } else if (event.kind === "checkpointFetched") {
      this.fetches.record(event.tookMs);
      this.lastFetch = event;
    } else if (event.kind === "checkpointInstalled") {
      this.installs.record(event.tookMs);
      this.lastInstallMs = event.tookMs;
    }
  };
}

function openAudit({ configuration, telemetry }: DaemonContext): AuditLog | null {
  if (!configuration.get(MasterKeys.auditLogEnabled)) return null;
  const folder = configuration.get(CommonKeys.logsDir);
  mkdirSync(folder, { recursive: true });
  return new AuditLog({
    path: join(folder, AUDIT_FILE),
    capacity: configuration.get(MasterKeys.auditLogCapacity),
    onEvent: telemetry.listen<AuditLogEvent>("audit"),
  });
}

export class MasterWatch {
  readonly audit: AuditLog | null;
  readonly workerMetrics: WorkerMetrics;
  readonly census: Census;
  readonly #context: DaemonContext;
  readonly #parts: MasterParts;
  readonly #slowMs: number;
  #slowCount = 0;

  constructor(context: DaemonContext, parts: MasterParts) {
    const { world, configuration } = context;
    this.#context = context;
    this.#parts = parts;
    this.audit = openAudit(context);
    this.#slowMs = configuration.get(CommonKeys.slowOperationThreshold);
    this.workerMetrics = new WorkerMetrics(world.clock);
    this.census = new Census({
      rows: parts.store,
      hasPlace: (blockId) => parts.blocks.locationsOf(blockId).length > 0,
      version: () => this.#version(),
      ...world,
    });
    parts.journal.onLeadership((event) => {
      if (event.kind === "gained") parts.journalTimes.gains.record(event.tookMs);
    });
    context.levels.register("slow");
  }

  get slowCount(): number {
    return this.#slowCount;
  }

  /** Lost workers and those that are forgotten do nothing any more. */
  checkWorkers(): void {
    const workers = this.#parts.blocks.workers();
    const live = workers.filter(({ isLive }) => isLive);
    this.workerMetrics.retain(
      new Set<WorkerId>(live.map(({ id }) => id)),
      new Set<WorkerId>(workers.map(({ id }) => id)),
    );
  }

  callWatch(): CallWatchOptions {
    const { world, configuration } = this.#context;
    const authentication = configuration.get(CommonKeys.authenticationType);
    return {
      nowMs: () => world.clock.monotonicMs(),
      isServing: this.#parts.isServing,
      permissionOf: (path) => (this.audit === null ? null : this.#permissionOf(path)),
      onCall: (call) => {
        if (this.audit !== null) this.#recordAudit(this.audit, call, authentication);
        if (this.#slowMs > 0 && call.tookMs >= this.#slowMs) this.#logSlow(call);
      },
    };
  }

  async close(): Promise<void> {
    this.census.stop();
    await this.audit?.close();
  }

  #version(): string {
    const { journal, blocks } = this.#parts;
    const workers = blocks.workers();
    const places = workers.map(({ isLive, blockCount }) => (isLive ? blockCount : -1)).join();
    return `${journal.status().appliedIndex} ${places}`;
  }

  #permissionOf(path: string): string | null {
    const { view } = this.#parts.state;
    try {
      if (!view.isInitialized()) return null;
      const inode = targetOf(view.walk(parsePath(path)));
      return inode === null ? null : `${inode.owner}:${inode.group}:${modeText(inode.mode)}`;
    } catch (error) {
      if (isRockpoolError(error)) return null; // no path, or the rows are being replaced
      throw error;
    }
  }

  #recordAudit(audit: AuditLog, call: WatchedCall, authentication: string): void {
    const { user, peer, tookMs, ...rest } = call;
    const groups = this.#parts.groups.knownGroupsOf(user);
    const entry = { ...rest, user, groups, authentication, ip: peer, executionMs: tookMs };
    audit.record(entry, this.#context.world.clock.wallMs());
  }

  #logSlow({ command, source, destination, user, peer, succeeded, tookMs, times }: WatchedCall) {
    this.#slowCount += 1;
    const { queueMs, journalMs, applyMs, underStoreMs } = times;
    const restMs = Math.max(0, tookMs - queueMs - journalMs - applyMs - underStoreMs);
    const rounded = Object.fromEntries(
      Object.entries({ tookMs, queueMs, journalMs, applyMs, underStoreMs, restMs }).map(
        ([name, ms]) => [name, Math.round(ms)],
      ),
    );
    this.#context.telemetry.logger.log("warn", "slow", "operation took long", {
      command,
      path: source ?? undefined,
      destination: destination ?? undefined,
      user,
      peer,
      succeeded,
      ...rounded,
    });
  }
}
