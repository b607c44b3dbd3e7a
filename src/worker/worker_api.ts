/**
 * What the worker's data services are given: the masters, other workers and under stores, as they need them, and
 * the events and counters that they report.
 * @module
 */
import type { BlockId } from "../common/ids.ts";
import type { MethodShape } from "../rpc/service.ts";
import type { UnderFileSystem } from "../ufs/under_file_system.ts";

/** Where a worker serves blocks. */
export type BlockAddress = { readonly host: string; readonly port: number };

/** Calls that go to the leading master, whoever it is, and are retried while none leads. */
export interface LeaderCalls {
  unary<Q, S, QInit, SInit>(
    shape: MethodShape<Q, S, QInit, SInit>,
    request: NoInfer<QInit>,
    options?: { readonly signal?: AbortSignal },
  ): Promise<S>;
  close(): void;
}

/** The leading master, whoever it is; calls are retried until they succeed or the retry policy gives up. */
export interface LeaderPort {
  /** @throws RockpoolError NOT_FOUND when no file has the block; UNAVAILABLE when no master leads */
  commitBlock(blockId: BlockId, lengthBytes: number): Promise<void>;
  /** The root and the options of a mount. @throws RockpoolError NOT_FOUND */
  mountOf(mountId: bigint): Promise<MountFacts>;
  /** Workers that have a block. */
  placesOf(blockId: BlockId): Promise<readonly BlockAddress[]>;
}

export type MountFacts = {
  readonly ufsUri: string;
  readonly isReadOnly: boolean;
  readonly properties: ReadonlyMap<string, string>;
};

/** A block of `lengthBytes` from `offsetBytes` on. */
export type RestOfBlock = {
  readonly blockId: BlockId;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
};

/** Other workers. */
export interface PeerPort {
  /** Streams a block from `offsetBytes` to its end, in order; each piece is valid only during its call. */
  readBlock(
    source: BlockAddress,
    block: RestOfBlock,
    onPiece: (bytes: Uint8Array) => Promise<void>,
  ): Promise<void>;
}

/**
 * The under store of a mount; the same root and options give the same store.
 * @throws RockpoolError INVALID_ARGUMENT for a kind of store that is not known
 */
export type MountedUfs = (
  rootUri: string,
  properties: ReadonlyMap<string, string>,
) => UnderFileSystem;

export type BlockStoreEvent =
  | { readonly kind: "blockFileDropped"; readonly path: string; readonly reason: string }
  | {
      readonly kind: "blockQuarantined";
      readonly blockId: BlockId;
      readonly path: string;
      readonly reason: string;
    }
  | { readonly kind: "blocksEvicted"; readonly blockIds: readonly BlockId[] }
  /** Files stay until the next start. */
  | { readonly kind: "blockCleanupFailed"; readonly blockId: BlockId; readonly message: string }
  | { readonly kind: "spareCleanupFailed"; readonly message: string }
  /** Its device failed several times: nothing new is written there until the worker is restarted. */
  | { readonly kind: "directoryLost"; readonly path: string; readonly reason: string };

export type BlockChange = { readonly kind: "added" | "removed"; readonly blockId: BlockId };

export type DataEvent =
  | { readonly kind: "blockCached"; readonly blockId: BlockId; readonly lengthBytes: number }
  | { readonly kind: "blockNotCached"; readonly blockId: BlockId; readonly reason: string }
  | { readonly kind: "blockCommitFailed"; readonly blockId: BlockId; readonly reason: string }
  | { readonly kind: "readFellBack"; readonly blockId: BlockId; readonly reason: string }
  | {
      readonly kind: "filePersisted";
      readonly fileId: bigint;
      readonly ufsPath: string;
      readonly lengthBytes: number;
    };

/** A master's state as this worker knows it. */
export type MasterState = "connecting" | "registering" | "registered";

export type MasterEvent =
  | { readonly kind: "masterRegistered"; readonly address: string; readonly blockCount: number }
  | { readonly kind: "masterLost"; readonly address: string; readonly reason: string }
  /** Every master has been silent for as long as `blockHeartbeatTimeoutMs`; the worker goes on serving and trying. */
  | { readonly kind: "allMastersLost"; readonly silentMs: number }
  | { readonly kind: "masterCommandFailed"; readonly address: string; readonly reason: string };

export type WorkerEvent = BlockStoreEvent | DataEvent | MasterEvent;

/** Monotonic counts since the start. */
export class WorkerCounters {
  /** From blocks here, for whoever reads over the network. */
  bytesReadLocal = 0;
  bytesReadUfs = 0;
  /** To clients and other workers over the network, wherever they came from. */
  bytesSent = 0;
  /** Over the network. */
  bytesWritten = 0;
  /** By clients of the same machine that wrote the file themselves. */
  bytesWrittenLocal = 0;
  bytesWrittenUfs = 0;
  bytesCached = 0;
  bytesPersisted = 0;
  blocksCached = 0;
  blocksEvicted = 0;
  blocksQuarantined = 0;
  readsActive = 0;
  writesActive = 0;
}
