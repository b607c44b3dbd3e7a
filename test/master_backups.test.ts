import assert from "node:assert/strict";
import { test } from "node:test";
import { createConfiguration } from "../src/conf/configuration.ts";
import { LiveConfiguration } from "../src/conf/live.ts";
import { MasterBackups } from "../src/master_backups.ts";
import { UnderStores } from "../src/under_stores.ts";
import { nodeWorld } from "../src/world/node_world.ts";

const HOUR_MS = 3_600_000;

test("the daily backup is made once a day, also when the timer is early by the clock on the wall", () => {
  let wallMs = Date.UTC(2026, 0, 1, 3);
  const waits: { delayMs: number; act: () => void }[] = [];
  const world = {
    ...nodeWorld(),
    clock: { wallMs: () => wallMs, monotonicMs: () => 0 },
    timers: {
      after(delayMs: number, act: () => void) {
        waits.push({ delayMs, act });
        return { cancel() {} };
      },
      soon: () => {},
    },
  };
  const configuration = createConfiguration([
    {
      source: "SITE_PROPERTY",
      assignments: [
        { name: "alluxio.master.daily.backup.enabled", value: "true", origin: "site:1" },
      ],
    },
  ]);
  const backups = new MasterBackups({
    context: {
      configuration,
      live: new LiveConfiguration(configuration),
      world,
      telemetry: { logger: { log() {}, flush() {} } },
    },
    stores: new UnderStores(),
    backuper: { backup: () => Promise.reject(new Error("Nobody serves")) },
    isServing: () => false,
  });
  backups.startDaily();
  assert.equal(waits[0]?.delayMs, 2 * HOUR_MS);
  wallMs += 2 * HOUR_MS - 5;
  waits[0]?.act();
  assert.equal(waits[1]?.delayMs, 24 * HOUR_MS + 5);
  wallMs += 24 * HOUR_MS + 100;
  waits[1]?.act();
  assert.equal(waits[2]?.delayMs, 24 * HOUR_MS - 95);
});
