/**
 * What this library asks of the network, so that tests put fakes in its place. `rpc/` fills these
 * in: see `connections.ts`.
 * @module
 */

import type { WorkerNetAddress } from "../common/file_facts.ts";
import type { BidiCall } from "../rpc/channel.ts";
import type { MethodShape } from "../rpc/service.ts";

/** Calls to whichever master leads; changes of the leader are waited out inside. */
export interface MasterPort {
  /** @param settleMs once a master may have the request, `signal` ends the call only after this time */
  unary<Q, S, QInit, SInit>(
    method: MethodShape<Q, S, QInit, SInit>,
    request: QInit,
    signal: AbortSignal | null,
    settleMs?: number,
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
    address: WorkerNetAddress,
    method: MethodShape<Q, S, QInit, SInit>,
    signal: AbortSignal | null,
  ): Promise<BidiCall<QInit, S>>;
  unary<Q, S, QInit, SInit>(
    address: WorkerNetAddress,
    method: MethodShape<Q, S, QInit, SInit>,
    request: QInit,
    timeoutMs: number,
  ): Promise<S>;
  close(): Promise<void>;
}
