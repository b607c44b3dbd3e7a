/**
 * A worker: its store, its services and its ties to the masters, joined.
 *
 * Start: blocks found on disk are checked, the port opens, then the masters are told. Stop: the masters are told that
 * it goes, calls get a moment to finish, files are closed. No stop waits for masters that do not answer.
 * @module
 */

import { join } from "node:path";
import { RockpoolError } from "../common/errors.ts";
import type { BlockId } from "../common/ids.ts";
import { invariant } from "../common/invariant.ts";
import { CHUNK_BYTES_MAX, SLOT_BYTES } from "../common/limits.ts";
import type { ReportEntry } from "../conf/report.ts";
import type { Kernels } from "../kernels/kernels.ts";
import { SlotPool } from "../kernels/slot_pool.ts";
import type { WorkerNetAddress } from "../proto/gen/common.ts";
import type { Credentials } from "../rpc/channel.ts";
import { openChannel } from "../rpc/channel.ts";
import type { RpcServerEvent } from "../rpc/grpc_server.ts";
import { GrpcServer } from "../rpc/grpc_server.ts";
import { MasterChannel, type MasterInquiry } from "../rpc/master_channel.ts";
import type { ImpersonationRule } from "../rpc/sasl.ts";
import { SaslAuthentication, trustingAuthenticator } from "../rpc/sasl.ts";
import type { World } from "../world/ports.ts";
import type { BlockStoreStatus, TierOptions } from "./block_store.ts";
import { BlockStore } from "./block_store.ts";
import { CacheJobs } from "./cache_jobs.ts";
import { FramePool } from "./chunk_codec.ts";
import { Committer } from "./committer.ts";
import { blockWorkerTable, workerControlTable } from "./data_service.ts";
import { nodeDisk } from "./disk.ts";
import { FileStates } from "./file_states.ts";
import { Leader } from "./leader.ts";
import { MasterLink, type MasterLinkOptions } from "./master_link.ts";
import { type MasterAddress, type MasterStatus, MasterSync } from "./master_sync.ts";
import { Mounts } from "./mounts.ts";
import { Peers } from "./peers.ts";
import { Persister } from "./persist_file.ts";
import { STANDING_FILE, Standing } from "./standing.ts";
import { openVerifiedBlock, type VerifiedBlock } from "./verified_pieces.ts";
import type { MountedUfs, WorkerEvent } from "./worker_api.ts";
import { WorkerCounters } from "./worker_api.ts";
import { workerMetrics } from "./worker_metrics.ts";

export type WorkerOptions = {
  /** How clients and masters reach this worker. */
  readonly hostname: string;
  /** Where clients connect instead of `hostname`, when the worker runs in a container; "" for the same. */
  readonly containerHostname: string;
  readonly bindHost: string;
  /** 0: any free port. */
  readonly rpcPort: number;
  /** Told to the masters; served by somebody else. */
  readonly webPort: number;
  /** From near to far, e.g. node, rack. A `node` tier is added in front when it is missing. */
  readonly localityTiers: readonly { readonly name: string; readonly value: string }[];
  /** Exactly one. */
  readonly tiers: readonly TierOptions[];
  /** fdatasync each block before it counts. */
  readonly isSynced: boolean;
  readonly masters: readonly MasterAddress[];
  /** Tells of all masters, and again when one joins or goes; where `masters` are not known beforehand. */
  readonly follow?: (onMasters: (masters: readonly MasterAddress[]) => void) => MasterFollower;
  /** As whom the worker logs in to masters and other workers. */
  readonly credentials: Credentials;
  readonly authentication:
    | {
        readonly kind: "simple";
        readonly impersonation: ReadonlyMap<string, ImpersonationRule>;
        readonly groupsOf: (user: string) => Promise<readonly string[]>;
        readonly staleMs: number;
        /** How long a login may take. */
        readonly handshakeMs?: number;
      }
    | { readonly kind: "none"; readonly user: string };
  /** `alluxio.worker.block.heartbeat.interval`, 1 s. */
  readonly heartbeatIntervalMs: number;
  /** `alluxio.worker.block.heartbeat.timeout`, 1 h: how long all masters may be silent before that is reported. */
  readonly blockHeartbeatTimeoutMs: number;
  /** How often the leader is asked for pinned files: 1 s. */
  readonly pinIntervalMs: number;
  /** HTTP/2 window for what clients send. */
  readonly windowBytes: number;
  readonly buildVersion: string;
  readonly buildRevision: string;
  readonly vcpuCount: number;
  /** See MasterLinkOptions. */
  readonly configuration: readonly ReportEntry[];
};

export type MasterFollower = { close(): Promise<void> };

export type WorkerDeps = {
  /** Its whole arena becomes the slots. */
  readonly kernels: Kernels;
  readonly world: World;
  readonly ufs: MountedUfs;
  readonly onEvent: (event: WorkerEvent | RpcServerEvent) => void;
  /** After each call, for metrics. */
  readonly onCallEnd?: (path: string, status: number, tookMs: number) => void;
};

export type WorkerStatus = {
  /** Null before the first registration. */
  readonly workerId: bigint | null;
  readonly address: WorkerNetAddress;
  readonly startedMs: number;
  readonly tiers: readonly BlockStoreStatus[];
  readonly blockCount: number;
  readonly masters: readonly MasterStatus[];
  readonly counters: Readonly<WorkerCounters>;
  readonly freeSlots: number;
  readonly slotCount: number;
};

export interface WorkerProcess {
  /** @throws RockpoolError UNAVAILABLE when the port is taken; what the tier's directories say */
  start(): Promise<{ readonly rpcPort: number }>;
  status(): WorkerStatus;
  /** What is cached at this moment. */
  blocks(): readonly { readonly id: BlockId; readonly lengthBytes: number }[];
  /** Null when the block is not here. */
  openBlock(blockId: BlockId): Promise<VerifiedBlock | null>;
  stop(): Promise<void>;
}

/** One chunk of any client, its frame, and room for commands. */
const MESSAGE_BYTES_MAX = 2 * CHUNK_BYTES_MAX;
const STOP_GRACE_MS = 2_000;
/** A master that vanished without a word is connected to anew after this, not after the system's quarter of an hour. */
const KEEPALIVE = { timeMs: 5_000, timeoutMs: 5_000 };
/** Alluxio's `alluxio.worker.network.keepalive.time` and `.timeout`: a client that vanished gives back room and locks. */
const CLIENT_KEEPALIVE = { timeMs: 30_000, timeoutMs: 30_000 };

export function createWorker(options: WorkerOptions, deps: WorkerDeps): WorkerProcess {
  const counters = new WorkerCounters();
  const onEvent = (event: WorkerEvent) => {
    if (event.kind === "blocksEvicted") counters.blocksEvicted += event.blockIds.length;
    if (event.kind === "blockQuarantined") counters.blocksQuarantined++;
    deps.onEvent(event);
  };
  let running: Running | null = null;
  return {
    async start() {
      invariant(running === null, "a worker is started once");
      running = await open(options, deps, counters, onEvent);
      return { rpcPort: running.rpcPort };
    },
    status() {
      invariant(running !== null, "a worker has a status once it is started");
      return running.status();
    },
    blocks: () => running?.blocks() ?? [],
    openBlock: async (blockId) => (await running?.openBlock(blockId)) ?? null,
    async stop() {
      await running?.stop();
    },
  };
}

type Running = {
  readonly rpcPort: number;
  status(): WorkerStatus;
  blocks(): readonly { readonly id: BlockId; readonly lengthBytes: number }[];
  openBlock(blockId: BlockId): Promise<VerifiedBlock | null>;
  stop(): Promise<void>;
};

function addressOf(options: WorkerOptions, rpcPort: number): WorkerNetAddress {
  const { hostname, containerHostname, webPort, localityTiers } = options;
  const tiers = localityTiers.some(({ name }) => name === "node")
    ? localityTiers
    : [{ name: "node", value: hostname }, ...localityTiers];
  return {
    host: hostname,
    containerHost: containerHostname,
    rpcPort,
    dataPort: rpcPort,
    webPort,
    domainSocketPath: "",
    tieredIdentity: { tiers: tiers.map(({ name, value }) => ({ tierName: name, value })) },
  };
}

async function open(
  options: WorkerOptions,
  deps: WorkerDeps,
  counters: WorkerCounters,
  onEvent: (event: WorkerEvent) => void,
): Promise<Running> {
  const { kernels, world } = deps;
  const { clock, timers } = world;
  const startedMs = clock.wallMs();
  const slots = new SlotPool(kernels);
  const masters = new FollowedMasters(options);
  const leaderCalls = new MasterChannel({
    addresses: options.masters,
    inquire: masters.inquire,
    auth: options.credentials,
  });
  const files = new FileStates({ calls: leaderCalls, clock, timers });
  const store = await BlockStore.open({
    options: { tier: onlyTier(options), isSynced: options.isSynced },
    ...{ disk: nodeDisk(), kernels, slots, files, clock, timers, onEvent },
  });
  let address = addressOf(options, options.rpcPort);
  let sync: MasterSync | null = null;
  const leader = new Leader({
    ...{ calls: leaderCalls, store },
    address: () => address,
    confirm: () => sync?.confirm() ?? Promise.resolve(),
  });
  const mounts = new Mounts(leader, deps.ufs, clock);
  const peers = new Peers(options.credentials, timers);
  const committer = new Committer(store, leader, onEvent);
  const shared = { store, slots, mounts, peers, committer, counters, onEvent };
  const jobs = new CacheJobs(shared);
  const persister = new Persister({ ...shared, leader, files });
  const isOwn = (other: { readonly host: string; readonly port: number }) =>
    other.port === address.dataPort &&
    (other.host === address.host || other.host === address.containerHost);
  const server = openServer(options, deps);
  server.addService(
    blockWorkerTable({ ...shared, frames: new FramePool(), jobs, timers, persister, isOwn }),
  );
  const standing = new Standing(standingFile(options), timers, async () => sync?.confirm());
  server.addService(workerControlTable(persister, standing));
  const rpcPort = await server.listen(options.bindHost, options.rpcPort);
  address = addressOf(options, rpcPort);
  const metrics = () => workerMetrics(address.host ?? options.hostname, counters);
  const isDecommissioned = () => standing.isDecommissioned;
  sync = syncWith(
    { ...options, metrics, isDecommissioned },
    { leader, store, world, onEvent },
    address,
  );
  sync.start();
  masters.listen(sync);
  return {
    rpcPort,
    status: () => ({
      workerId: sync.workerId,
      address,
      startedMs,
      tiers: [store.status()],
      blockCount: store.status().blockCount,
      masters: sync.status(),
      counters: { ...counters },
      freeSlots: slots.freeCount,
      slotCount: slots.slotCount,
    }),
    openBlock: (blockId) => openVerifiedBlock(blockId, { store, slots, kernels }),
    blocks: () => store.blockIds().map((id) => ({ id, lengthBytes: store.lengthOf(id) ?? 0 })),
    async stop() {
      // First: clients are sent to others while calls under way come to their end.
      await Promise.all([masters.close(), sync.leave()]);
      // Calls that end well still need the leader; without one, those that wait for it end now.
      if (!sync.isLed) leaderCalls.close();
      await server.close(STOP_GRACE_MS);
      leaderCalls.close();
      peers.close();
      await jobs.stop();
      await sync.stop();
      await store.close();
    },
  };
}

function syncWith(
  options: WorkerOptions & Pick<MasterLinkOptions, "metrics" | "isDecommissioned">,
  deps: {
    readonly leader: Leader;
    readonly store: BlockStore;
    readonly world: World;
    readonly onEvent: (event: WorkerEvent) => void;
  },
  address: WorkerNetAddress,
): MasterSync {
  const { credentials: auth, pinIntervalMs, blockHeartbeatTimeoutMs: silenceMs } = options;
  return new MasterSync({
    ...deps,
    masters: options.masters,
    linkTo({ host, port }) {
      const channel = openChannel({ host, port, auth, keepalive: KEEPALIVE });
      return new MasterLink({ ...deps, channel, options: { ...options, address } });
    },
    options: { pinIntervalMs, silenceMs },
  });
}

/** What is told of the masters, for those who ask for all of them and for the calls to the leader. */
class FollowedMasters {
  readonly #follower: MasterFollower | null;
  #known: readonly MasterAddress[] = [];
  #waiting: ((masters: readonly MasterAddress[]) => void)[] = [];
  #sync: MasterSync | null = null;

  constructor({ follow }: WorkerOptions) {
    this.#follower = follow?.((masters) => this.#hear(masters)) ?? null;
  }

  /** Waits for the first that is heard. */
  get inquire(): MasterInquiry | undefined {
    if (this.#follower === null) return undefined;
    return () =>
      this.#known.length > 0
        ? Promise.resolve(this.#known)
        : new Promise((resolve) => this.#waiting.push(resolve));
  }

  listen(sync: MasterSync): void {
    this.#sync = sync;
    sync.setMasters(this.#known);
  }

  async close(): Promise<void> {
    await this.#follower?.close();
  }

  #hear(masters: readonly MasterAddress[]): void {
    if (masters.length === 0) return;
    this.#known = masters;
    for (const resolve of this.#waiting.splice(0)) resolve(masters);
    this.#sync?.setMasters(masters);
  }
}

function standingFile({ tiers }: WorkerOptions): string {
  return join(tiers[0]?.directories[0]?.path ?? "", STANDING_FILE);
}

function onlyTier({ tiers }: WorkerOptions): TierOptions {
  const [tier, ...more] = tiers;
  if (tier === undefined || more.length > 0 || tier.directories.length === 0)
    throw new RockpoolError(
      "INVALID_ARGUMENT",
      `This worker is given ${tiers.length} tiers; it takes one, of one or more directories`,
      "Set alluxio.worker.tieredstore.levels=1 and give the tier a directory",
    );
  return tier;
}

function openServer(options: WorkerOptions, deps: WorkerDeps): GrpcServer {
  const { authentication, windowBytes } = options;
  const { onEvent, onCallEnd } = deps;
  const shared = {
    messageBytesMax: MESSAGE_BYTES_MAX,
    windowBytes: Math.max(windowBytes, 2 * SLOT_BYTES),
    keepalive: CLIENT_KEEPALIVE,
    onEvent,
    ...(onCallEnd === undefined ? {} : { onCallEnd }),
  };
  if (authentication.kind === "none")
    return new GrpcServer({ ...shared, authenticator: trustingAuthenticator(authentication.user) });
  const nowMs = () => deps.world.clock.monotonicMs();
  const sasl = new SaslAuthentication({ ...authentication, nowMs });
  const server = new GrpcServer({ ...shared, authenticator: sasl });
  server.addService(sasl.table());
  return server;
}
