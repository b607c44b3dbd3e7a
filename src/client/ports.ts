/**
 * What this library asks of the network, so that tests put fakes in its place. `rpc/` fills these
 * in: see `connections.ts`.
 * @module
 */
import type { BidiCall } from "../rpc/channel.ts";
import type { MethodShape } from "../rpc/service.ts";
import type { WorkerAddress } from "./file_status.ts";

/** Calls to whichever master leads; changes of the leader are waited out inside. */
export interface MasterPort {
  unary<Q, S, QInit, SInit>(
    method: MethodShape<Q, S, QInit, SInit>,
    request: QInit,
    signal: AbortSignal | null,
  ): Promise<S>;
  /** Retried until its first message, then no more: what follows may contradict what was given. */
  stream<Q, S, QInit, SInit>(
    method: MethodShape<Q, S, QInit, SInit>,
    request: QInit,
    signal: AbortSignal | null,
  ): AsyncIterable<S>;
  /** Address of the master that answered last; null before the first answer. */
  leaderAddress(): string | null;
  close(): Promise<void>;
}

export interface WorkerPort {
  /** Resolves when the worker is connected. @throws RockpoolError UNAVAILABLE when it is not there */
  bidi<Q, S, QInit, SInit>(
    address: WorkerAddress,
    method: MethodShape<Q, S, QInit, SInit>,
    signal: AbortSignal | null,
  ): Promise<BidiCall<QInit, S>>;
  unary<Q, S, QInit, SInit>(
    address: WorkerAddress,
    method: MethodShape<Q, S, QInit, SInit>,
    request: QInit,
    timeoutMs: number,
  ): Promise<S>;
  close(): Promise<void>;
}
