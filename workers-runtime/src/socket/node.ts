/**
 * Node: its own WebSocket from version 22 on, the package `ws` before. Bun, which has as much memory: its own.
 * @module
 */
import type { Socket } from "../session.ts";

export const windowBytes = 8 * 1024 * 1024;

export async function dial(url: string): Promise<Socket> {
  const { WebSocket: own } = globalThis as { WebSocket?: typeof WebSocket };
  if (own !== undefined) return new own(url, "rockpool.v1");
  const { WebSocket: packaged } = await import("ws");
  // Of what a Socket is, it has all.
  return new packaged(url, "rockpool.v1", { perMessageDeflate: false }) as unknown as Socket;
}
