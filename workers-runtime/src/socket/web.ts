/**
 * Runtimes with a WebSocket of their own. Their memory is small, and what comes in cannot be held back.
 * @module
 */
import type { Socket } from "../session.ts";

export const windowBytes = 1024 * 1024;
export const dial = (url: string): Socket => new WebSocket(url, "rockpool.v1");
