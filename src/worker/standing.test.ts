import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { WorkerControl } from "../proto/gen/rockpool_internal.ts";
import { STANDING_FILE } from "./standing.ts";
import { type FakeMaster, type Fixture, until, withWorker } from "./worker_fixture.ts";

const standingSeen = (master: FakeMaster) => master.heartbeats.at(-1)?.options?.isDecommissioned;
const setStanding = ({ channel }: Fixture, isDecommissioned: boolean, isKept: boolean) =>
  channel.unary(WorkerControl.methods.SetStanding, { isDecommissioned, isKept });

test("S0-61 a worker that is stopped says goodbye to every master, and registers with none again", () =>
  withWorker(
    async ({ masters, worker }) => {
      await until(() => masters.every(({ registrations }) => registrations === 1));
      await worker.stop();
      for (const { departures, registrations, isKnown } of masters)
        assert.deepEqual([departures, registrations, isKnown], [[77n], 1, false]);
    },
    { masterCount: 3 },
  ));

test("a stop waits for no master that is gone", () =>
  withWorker(
    async ({ masters, worker }) => {
      await until(() => masters.every(({ registrations }) => registrations === 1));
      const [, standby] = masters;
      await standby?.stop();
      await worker.stop();
      assert.deepEqual(masters[0]?.departures, [77n]);
      assert.deepEqual(standby?.departures, []);
    },
    { masterCount: 2 },
  ));

test("SetStanding is answered when every master has heard of it", () =>
  withWorker(
    async (fixture) => {
      const { masters } = fixture;
      await until(() => masters.every(({ registrations }) => registrations === 1));
      await setStanding(fixture, true, false);
      assert.deepEqual(masters.map(standingSeen), [true, true]);
      await setStanding(fixture, false, false);
      assert.deepEqual(masters.map(standingSeen), [false, false]);
    },
    // Nothing comes of itself meanwhile.
    { masterCount: 2, heartbeatIntervalMs: 3_600_000 },
  ));

test("a standing that is to be kept survives a restart, and one that is not does not", () =>
  withWorker(async (fixture) => {
    const { master, blocksFolder } = fixture;
    const path = join(blocksFolder, STANDING_FILE);
    const restart = async () => {
      await fixture.worker.stop();
      const { length } = master.heartbeats;
      await fixture.startWorker();
      await until(() => master.heartbeats.length > length);
      return standingSeen(master);
    };
    await until(() => master.registrations === 1);
    await setStanding(fixture, true, true);
    assert.equal(existsSync(path), true);
    assert.equal(await restart(), true);
    await setStanding(fixture, false, false);
    assert.equal(existsSync(path), false);
    assert.equal(await restart(), false);
    await setStanding(fixture, true, false);
    assert.equal(existsSync(path), false);
    assert.equal(await restart(), false);
  }));

test("wishes are fulfilled in the order in which they came", () =>
  withWorker(async (fixture) => {
    await until(() => fixture.master.registrations === 1);
    await Promise.all([true, false, true].map((wish) => setStanding(fixture, wish, true)));
    assert.equal(standingSeen(fixture.master), true);
    assert.equal(existsSync(join(fixture.blocksFolder, STANDING_FILE)), true);
  }));
