/**
 * What the tests of the worker stand on: masters that answer over real gRPC and write down what they hear, a worker in a
 * temporary folder, and a client's channel to it.
 * @module
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { RockpoolError } from "../common/errors.ts";
import { SLOT_BYTES } from "../common/limits.ts";
import { openKernels } from "../kernels/load.ts";
import { arenaBytesOf } from "../kernels/slot_pool.ts";
import type { BlockHeartbeatPRequest } from "../proto/gen/block_master.ts";
import { BlockMasterClientService, BlockMasterWorkerService } from "../proto/gen/block_master.ts";
import type { CommandInit, WorkerNetAddress } from "../proto/gen/common.ts";
import { FileSystemMasterWorkerService } from "../proto/gen/file_system_master.ts";
import { WorkerFarewell } from "../proto/gen/rockpool_internal.ts";
import { ServiceVersionClientService } from "../proto/gen/version.ts";
import type { RpcChannel } from "../rpc/channel.ts";
import { openChannel } from "../rpc/channel.ts";
import type { RpcServerEvent } from "../rpc/grpc_server.ts";
import { GrpcServer } from "../rpc/grpc_server.ts";
import { SaslAuthentication } from "../rpc/sasl.ts";
import type { ServiceTable } from "../rpc/service.ts";
import { bidi, unary } from "../rpc/service.ts";
import { LocalUnderFileSystem } from "../ufs/local_ufs.ts";
import { pathWithinStore } from "../ufs/ufs_uri.ts";
import { nodeWorld } from "../world/node_world.ts";
import type { WorkerEvent } from "./worker_api.ts";
import type { WorkerOptions, WorkerProcess } from "./worker_process.ts";
import { createWorker } from "./worker_process.ts";

function sasl(): SaslAuthentication {
  return new SaslAuthentication({
    impersonation: new Map(),
    groupsOf: async () => [],
    staleMs: 1e9,
    nowMs: () => performance.now(),
  });
}

/** One process does the work of both ends here, and of many tests: how soon they meet is not what is tested. */
const PATIENT_MS = 30_000;

/** A master with no namespace behind it. */
export class FakeMaster {
  readonly commits: { readonly blockId: bigint; readonly lengthBytes: number }[] = [];
  readonly heartbeats: BlockHeartbeatPRequest[] = [];
  /** Heartbeats whose changes were not taken in, while `isDeaf`. */
  readonly lost: BlockHeartbeatPRequest[] = [];
  isDeaf = false;
  registrations = 0;
  /** Workers that said goodbye. */
  readonly departures: bigint[] = [];
  /** As the registrations and the changes told it. */
  readonly blocks = new Set<bigint>();
  isKnown = false;
  isLeader = true;
  pinned: bigint[] = [];
  pinPolls = 0;
  command: CommandInit | null = null;
  /** Called before a commit is taken: throws what the worker shall see, or waits. */
  onCommit: (blockId: bigint) => void | Promise<void> = () => {};
  readonly mounts = new Map<bigint, { readonly uri: string; readonly isReadOnly: boolean }>();
  readonly places = new Map<bigint, readonly { readonly host: string; readonly port: number }[]>();
  /** What the master says of files; null for one that is gone. */
  persistenceOf: (fileId: bigint) => string | null = () => "NOT_PERSISTED";
  /** Called before a question about a file is answered. */
  beforeFileInfo: () => Promise<void> = async () => {};
  /** Files that were asked about. */
  readonly questions: bigint[] = [];
  #server: GrpcServer | null = null;
  port = 0;

  async start(): Promise<void> {
    const authentication = sasl();
    const server = new GrpcServer({
      authenticator: authentication,
      messageBytesMax: 100 * SLOT_BYTES,
      onEvent: (event) => {
        if (event.kind === "handlerFailed") throw event.error;
      },
    });
    server.addService(authentication.table());
    for (const table of this.#tables()) server.addService(table);
    this.port = await server.listen("127.0.0.1", this.port);
    this.#server = server;
  }

  async stop(): Promise<void> {
    await this.#server?.close(0);
    this.#server = null;
  }

  #tables(): ServiceTable[] {
    return [
      {
        name: ServiceVersionClientService.name,
        isAuthenticated: false,
        methods: [
          unary(ServiceVersionClientService.methods.getServiceVersion, () => {
            this.#mustLead();
            return { version: 2 };
          }),
        ],
      },
      this.#blockTable(),
      this.#fileTable(),
      this.#clientTable(),
      this.#farewellTable(),
    ];
  }

  #farewellTable(): ServiceTable {
    return {
      name: WorkerFarewell.name,
      isAuthenticated: true,
      methods: [
        unary(WorkerFarewell.methods.Leave, ({ workerId }) => {
          this.departures.push(workerId);
          this.isKnown = false;
          return {};
        }),
      ],
    };
  }

  #blockTable(): ServiceTable {
    const blocks = BlockMasterWorkerService.methods;
    return {
      name: BlockMasterWorkerService.name,
      isAuthenticated: true,
      methods: [
        unary(blocks.GetWorkerId, () => ({ workerId: 77n })),
        bidi(blocks.RegisterWorkerStream, async (requests, out) => {
          let isFirst = true;
          for await (const request of requests) {
            if (isFirst) this.blocks.clear();
            isFirst = false;
            for (const { value } of request.currentBlocks)
              for (const id of value?.blockId ?? []) this.blocks.add(id);
            out.send({});
          }
          this.isKnown = true;
          this.registrations++;
        }),
        unary(blocks.BlockHeartbeat, (request) => {
          if (!this.isKnown) return { command: { commandType: 2 as const } };
          if (this.isDeaf) {
            this.lost.push(request);
            throw new RockpoolError("UNAVAILABLE", "Nothing was heard");
          }
          this.heartbeats.push(request);
          for (const id of request.removedBlockIds) this.blocks.delete(id);
          for (const { value } of request.addedBlocks)
            for (const id of value?.blockId ?? []) this.blocks.add(id);
          const command = this.command ?? { commandType: 1 as const };
          this.command = null;
          return { command };
        }),
        unary(blocks.CommitBlock, async ({ blockId = 0n, length = 0 }) => {
          this.#mustLead();
          if (!this.isKnown) throw new RockpoolError("NOT_FOUND", "No such worker");
          await this.onCommit(blockId);
          this.commits.push({ blockId, lengthBytes: length });
          return {};
        }),
      ],
    };
  }

  #fileTable(): ServiceTable {
    const files = FileSystemMasterWorkerService.methods;
    return {
      name: FileSystemMasterWorkerService.name,
      isAuthenticated: true,
      methods: [
        unary(files.GetPinnedFileIds, () => {
          this.#mustLead();
          this.pinPolls++;
          return { pinnedFileIds: this.pinned };
        }),
        unary(files.GetFileInfo, async ({ fileId = 0n }) => {
          this.#mustLead();
          this.questions.push(fileId);
          await this.beforeFileInfo();
          const persistenceState = this.persistenceOf(fileId);
          if (persistenceState === null) throw new RockpoolError("NOT_FOUND", `No file ${fileId}`);
          return { fileInfo: { fileId, persistenceState } };
        }),
        unary(files.GetUfsInfo, ({ mountId = 0n }) => {
          this.#mustLead();
          const mount = this.mounts.get(mountId);
          if (mount === undefined) throw new RockpoolError("NOT_FOUND", `No mount ${mountId}`);
          return { ufsInfo: { uri: mount.uri, properties: { readOnly: mount.isReadOnly } } };
        }),
      ],
    };
  }

  #clientTable(): ServiceTable {
    return {
      name: BlockMasterClientService.name,
      isAuthenticated: true,
      methods: [
        unary(BlockMasterClientService.methods.GetBlockInfo, ({ blockId = 0n }) => ({
          blockInfo: {
            blockId,
            locations: (this.places.get(blockId) ?? []).map(({ host, port }) => ({
              workerAddress: { host, dataPort: port, rpcPort: port } satisfies WorkerNetAddress,
            })),
          },
        })),
      ],
    };
  }

  #mustLead(): void {
    if (!this.isLeader) throw new RockpoolError("UNAVAILABLE", "This master is a standby");
  }
}

export const SLOT_COUNT = 4;

export type Fixture = {
  readonly folder: string;
  readonly ufsFolder: string;
  readonly blocksFolder: string;
  readonly masters: readonly FakeMaster[];
  readonly master: FakeMaster;
  readonly events: (WorkerEvent | RpcServerEvent)[];
  worker: WorkerProcess;
  channel: RpcChannel;
  port: number;
  /** Starts the worker (again), on the same folder. */
  startWorker(): Promise<void>;
  /** Another worker of the same masters. */
  startPeer(): Promise<{
    readonly worker: WorkerProcess;
    readonly port: number;
    readonly channel: RpcChannel;
  }>;
};

/** Far beyond what any condition takes on a busy machine: a test that waits longer has failed. */
const UNTIL_MS_MAX = 60_000;

/** Resolves when the condition holds. */
export async function until(condition: () => boolean): Promise<void> {
  const startedMs = performance.now();
  while (!condition()) {
    if (performance.now() - startedMs > UNTIL_MS_MAX)
      throw new RangeError(`What was waited for did not happen: ${condition}`);
    await setTimeout(1);
  }
}

export async function withWorker(
  work: (fixture: Fixture) => Promise<void>,
  settings: {
    readonly quotaBytes?: number;
    readonly masterCount?: number;
    readonly heartbeatIntervalMs?: number;
    /** In place of a list of the masters. */
    readonly follow?: NonNullable<WorkerOptions["follow"]>;
  } = {},
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "rockpool-worker-"));
  const masters = Array.from({ length: settings.masterCount ?? 1 }, () => new FakeMaster());
  for (const [index, master] of masters.entries()) {
    master.isLeader = index === 0;
    master.mounts.set(1n, { uri: `file://${folder}/ufs`, isReadOnly: false });
    await master.start();
  }
  const [master] = masters;
  if (master === undefined) throw new RangeError("A fixture has a master");
  const events: (WorkerEvent | RpcServerEvent)[] = [];
  const opened: { readonly worker: WorkerProcess; readonly channel: RpcChannel }[] = [];
  const launch = async (name: string) => {
    const worker = createWorker(
      {
        ...optionsFor(join(folder, name, "alluxioworker"), masters, settings.quotaBytes),
        heartbeatIntervalMs: settings.heartbeatIntervalMs ?? 10,
        ...(settings.follow === undefined ? {} : { masters: [], follow: settings.follow }),
      },
      {
        kernels: openKernels({ flavour: "wasm", arenaBytes: arenaBytesOf(SLOT_COUNT) }),
        world: nodeWorld(),
        ufs: (uri) => new LocalUnderFileSystem(pathWithinStore(uri)),
        onEvent: (event) => events.push(event),
      },
    );
    const { rpcPort: port } = await worker.start();
    const channel = openChannel({
      connectTimeoutMs: PATIENT_MS,
      host: "127.0.0.1",
      port,
      auth: { kind: "simple", user: "tester" },
    });
    opened.push({ worker, channel });
    return { worker, port, channel };
  };
  const fixture: Fixture = {
    folder,
    ufsFolder: join(folder, "ufs"),
    blocksFolder: join(folder, "worker", "alluxioworker"),
    masters,
    master,
    events,
    ...(await launch("worker")),
    async startWorker() {
      Object.assign(fixture, await launch("worker"));
    },
    startPeer: () => launch("peer"),
  };
  try {
    await work(fixture);
    for (const event of events) if (event.kind === "handlerFailed") throw event.error;
  } finally {
    for (const { channel } of opened) channel.close();
    for (const { worker } of opened) await worker.stop();
    for (const each of masters) await each.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

function optionsFor(
  path: string,
  masters: readonly FakeMaster[],
  quotaBytes = 64 * SLOT_BYTES,
): WorkerOptions {
  return {
    hostname: "127.0.0.1",
    containerHostname: "",
    bindHost: "127.0.0.1",
    rpcPort: 0,
    webPort: 0,
    localityTiers: [],
    tiers: [{ alias: "MEM", mediumType: "MEM", directories: [{ path, quotaBytes }] }],
    isSynced: false,
    masters: masters.map(({ port }) => ({ host: "127.0.0.1", port })),
    credentials: { kind: "simple", user: "worker" },
    authentication: {
      kind: "simple",
      impersonation: new Map(),
      groupsOf: async () => [],
      staleMs: 1e9,
    },
    heartbeatIntervalMs: 10,
    blockHeartbeatTimeoutMs: 3_600_000,
    pinIntervalMs: 10,
    windowBytes: 4 * SLOT_BYTES,
    buildVersion: "2.9.4",
    buildRevision: "test",
    vcpuCount: 2,
    configuration: [],
  };
}
