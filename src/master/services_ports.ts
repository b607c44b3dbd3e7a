/**
 * What the services of a master need from it, and what they share.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import type { WorkerNetAddress } from "../common/file_facts.ts";
import type { InodeId } from "../common/ids.ts";
import type { FsOpPId } from "../proto/gen/file_system_master.ts";
import {
  type CallContext,
  type Caller,
  type Method,
  type MethodShape,
  type ServerStreamHandler,
  serverStream,
  type UnaryHandler,
  unary,
} from "../rpc/service.ts";
import type { BlockMaster, Call, FileSystemMaster, Principal } from "./api.ts";
import type { BackupJobs } from "./backup_jobs.ts";
import { operationTimes } from "./call_watch.ts";
import type { ConfigurationPort } from "./configuration_port.ts";
import type { JournalPort } from "./services_journal.ts";
import { operationIdFromWire } from "./wire_codec.ts";
import type { WorkerMetrics } from "./worker_metrics.ts";

export type MasterAddress = {
  readonly host: string;
  readonly rpcPort: number;
  readonly isLeader: boolean;
  /** False when the leader has not heard of it for a while. */
  readonly isLive: boolean;
  readonly version: string;
};

export type MasterFacts = {
  /** "host:rpcPort". */
  readonly leaderAddress: string;
  readonly masters: readonly MasterAddress[];
  readonly rpcPort: number;
  readonly webPort: number;
  readonly startedMs: number;
  readonly clusterId: string;
  /** "host:journalPort" of every member; empty without a Raft journal. */
  readonly raftAddresses: readonly string[];
  readonly zookeeperAddresses: readonly string[];
};

export type MetricReading =
  | { readonly kind: "counter" | "gauge"; readonly value: number }
  | { readonly kind: "text"; readonly value: string };

export type MasterServicePorts = {
  readonly fileSystem: FileSystemMaster;
  readonly blocks: BlockMaster;
  /** Whether this master leads and has applied the first entry of its term. */
  readonly isServing: () => boolean;
  readonly principalOf: (caller: Caller) => Principal | Promise<Principal>;
  /** Files that workers may not evict. */
  readonly pinnedFileIds: () => readonly InodeId[] | Promise<readonly InodeId[]>;
  readonly configuration: ConfigurationPort;
  readonly masterFacts: () => MasterFacts;
  readonly journal: JournalPort;
  readonly backups: Pick<BackupJobs, "begin" | "status" | "over">;
  /** Where the workers' own metrics go; left out when nobody wants them. */
  readonly workerMetrics?: Pick<WorkerMetrics, "report">;
  readonly metrics: () => ReadonlyMap<string, MetricReading>;
  readonly clearMetrics: () => void;
  /** Resolves when the worker has told all masters. @throws RockpoolError UNAVAILABLE when it is gone */
  readonly setWorkerStanding: (
    worker: WorkerNetAddress,
    standing: { readonly isDecommissioned: boolean; readonly isKept: boolean },
  ) => Promise<void>;
  /** Wall clock. */
  readonly nowMs: () => number;
};

/** The masters' own calls: no permission stops them. */
const SYSTEM: Principal = { user: "rockpool", groups: [], isSuperuser: true };
export const SYSTEM_CALL: Call = { principal: SYSTEM, operationId: null };

/** @throws RockpoolError UNAVAILABLE unless this master leads */
export function requireServing(ports: Pick<MasterServicePorts, "isServing">): void {
  if (!ports.isServing())
    throw new RockpoolError(
      "UNAVAILABLE",
      "This master is a standby and does not serve",
      "Ask the leading master; clients with the addresses of all masters find it themselves",
    );
}

/** Who calls, in the masters' words. */
export async function callOf(
  ports: MasterServicePorts,
  context: CallContext,
  operationId?: FsOpPId,
): Promise<Call> {
  if (context.caller === null) throw new RockpoolError("UNAUTHENTICATED", "The call needs a login");
  const times = operationTimes(context);
  return {
    principal: await ports.principalOf(context.caller),
    operationId: operationIdFromWire(operationId),
    ...(times === undefined ? {} : { times }),
  };
}

/** @param what completes "may not …". @throws RockpoolError PERMISSION_DENIED unless a superuser calls */
export async function requireSuperuser(
  ports: MasterServicePorts,
  context: CallContext,
  what: string,
): Promise<void> {
  const { principal } = await callOf(ports, context);
  if (!principal.isSuperuser)
    throw new RockpoolError(
      "PERMISSION_DENIED",
      `User ${principal.user} may not ${what}`,
      "Only the user who runs the masters and members of the supergroup may",
    );
}

/** A method that standbys refuse. */
export function leaderUnary<Q, S, QInit, SInit>(
  ports: MasterServicePorts,
  shape: MethodShape<Q, S, QInit, SInit>,
  handle: UnaryHandler<Q, SInit>,
): Method {
  return unary(shape, (request, context) => {
    requireServing(ports);
    return handle(request, context);
  });
}

export function leaderStream<Q, S, QInit, SInit>(
  ports: MasterServicePorts,
  shape: MethodShape<Q, S, QInit, SInit>,
  handle: ServerStreamHandler<Q, SInit>,
): Method {
  return serverStream(shape, async (request, out, context) => {
    requireServing(ports);
    await handle(request, out, context);
  });
}

/** A method that this version does not offer. `what` begins a sentence. */
export function unsupported<Q, S, QInit, SInit>(
  ports: MasterServicePorts,
  shape: MethodShape<Q, S, QInit, SInit>,
  what: string,
): Method {
  return leaderUnary(ports, shape, () => refuse(what));
}

export function refuse(what: string): never {
  throw new RockpoolError(
    "INVALID_ARGUMENT",
    `${what} is not supported by this version of Rockpool`,
  );
}
