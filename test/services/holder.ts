/**
 * Holds an ephemeral node, is stopped by a signal, and tells what it believed when it went on.
 * @module
 */
import { nodeWorld } from "../../src/world/node_world.ts";
import { ZooKeeper } from "../../src/zookeeper/zookeeper.ts";

const [connect = "", timeout = ""] = process.argv.slice(2);
const sessionTimeoutMs = Number(timeout);
const keeper = new ZooKeeper({ connect, sessionTimeoutMs, world: nodeWorld() });
const mode = { isEphemeral: true, isSequential: true };
let turnMs = performance.now();
let wasStopped = false;
let aliveAfterStop = 0;

function look(): void {
  wasStopped ||= performance.now() - turnMs > sessionTimeoutMs / 2;
  turnMs = performance.now();
  if (wasStopped && keeper.isAliveFor(0)) aliveAfterStop += 1;
  if (wasStopped && keeper.state !== "connected" && keeper.state !== "connecting") {
    process.send?.({ aliveAfterStop, expired: keeper.state === "expired" });
    return;
  }
  setImmediate(look);
}

process.send?.(await keeper.create("/ephemeral/h-", new Uint8Array(), mode));
look();
