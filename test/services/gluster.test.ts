/**
 * A log in a folder of a real GlusterFS with three replicas, seen through two mounts: the contract of all log stores, bricks that die.
 * @module
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { isRockpoolError } from "../../src/common/errors.ts";
import { LocalLogStore } from "../../src/ufs/local_log_store.ts";
import { testLogStore } from "../../src/ufs/log_store_contract.ts";
import { GlusterServers } from "./gluster_servers.ts";

const why = GlusterServers.missing();
if (why !== null && process.env["ROCKPOOL_REQUIRE_GLUSTER"] === "1")
  throw new Error(`These tests need GlusterFS: ${why}`);

describe("GlusterFS", { skip: why === null ? false : `NOT RUN: ${why}` }, () => {
  let servers: GlusterServers;
  let opened = 0;
  before(async () => {
    servers = await GlusterServers.start();
  });
  after(async () => {
    await servers?.stop();
  });

  const storeAt = (mount: number, folder: string) =>
    new LocalLogStore(`${servers.mount(mount)}/${folder}`);

  /** A mount finds the bricks that are back after a while. */
  async function textOf(store: LocalLogStore, name: string): Promise<string | null> {
    for (;;)
      try {
        const bytes = await store.read(name);
        return bytes === null ? null : Buffer.from(bytes).toString();
      } catch (error) {
        if (!isRockpoolError(error, "UNAVAILABLE")) throw error;
        await delay(100);
      }
  }

  // Each other store of a test is on the other mount.
  testLogStore("gluster", async (folder) => {
    opened += 1;
    return storeAt(1 + (opened % 2), folder);
  });

  test("a brick that dies loses nothing and lets nobody win twice; without two of three nothing is told as made", async () => {
    const stores = [storeAt(1, "faults"), storeAt(2, "faults")] as const;
    const made = new Map<string, number>();
    const race = async (from: number, to: number) => {
      for (let i = from; i < to; i++) {
        const name = `log/${String(i).padStart(16, "0")}`;
        const outcomes = await Promise.allSettled(
          stores.map((store, racer) => store.create(name, Buffer.from(`${racer}`))),
        );
        const winners = outcomes.flatMap((one, racer) =>
          one.status === "fulfilled" && one.value === "created" ? [racer] : [],
        );
        assert.ok(winners.length <= 1, name);
        for (const one of outcomes)
          if (one.status === "rejected") assert.ok(isRockpoolError(one.reason), String(one.reason));
        for (const racer of winners) made.set(name, racer);
      }
    };
    await race(0, 20);
    servers.signalBrick(1, "SIGKILL");
    await race(20, 60);
    assert.equal(made.size, 60, "one of three is none too many");
    servers.signalBrick(2, "SIGKILL");
    await race(60, 65);
    assert.equal(made.size, 60);
    await servers.mend();
    for (const [name, racer] of made)
      for (const store of stores) assert.equal(await textOf(store, name), String(racer), name);
    // Of what was tried meanwhile nothing is known: but both see the same.
    for (let i = 60; i < 65; i++) {
      const name = `log/${String(i).padStart(16, "0")}`;
      assert.equal(await textOf(stores[0], name), await textOf(stores[1], name));
    }
    await race(70, 80);
    assert.equal(made.size, 70);
  });
});
