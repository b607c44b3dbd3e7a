import assert from "node:assert/strict";
import { test } from "node:test";
import type { JournalView } from "../client/journal_admin.ts";
import { isRockpoolError } from "../common/errors.ts";
import type { RaftReport } from "../proto/gen/rockpool_internal.ts";
import { type RollingMaster, rollingRestart } from "./rolling.ts";

/** Masters as their journals show them; a restarted one is back after some looks. */
class Masters {
  readonly names: readonly string[];
  readonly log: string[] = [];
  leader: string;
  readonly down = new Set<string>();
  /** Looks until they have caught up. */
  readonly lagging = new Map<string, number>();
  readonly failing = new Set<string>();
  readonly wrong = new Set<string>();

  constructor(count: number) {
    this.names = Array.from({ length: count }, (_, at) => `m${at + 1}`);
    this.leader = "m1";
  }

  #report(name: string): RaftReport {
    const members = this.names.map((one) => ({
      address: `${one}:1`,
      isVoter: true,
      isLeader: one === this.leader,
      isAvailable: !this.down.has(one),
      matchIndex: this.lagging.has(one) ? 50 : 100,
    }));
    const appliedIndex = this.lagging.has(name) ? 50 : 100;
    return {
      address: `${name}:1`,
      role: name === this.leader ? "leader" : "follower",
      isServing: name === this.leader,
      term: 1,
      lastIndex: appliedIndex,
      commitIndex: appliedIndex,
      appliedIndex,
      members,
      checkpointIndex: undefined,
      checkpointTimeMs: undefined,
      promisedIndex: undefined,
      diskFreeBytes: 1,
      diskTotalBytes: 1,
      isReadOnly: false,
      repairCount: 0,
      restoreProgress: undefined,
      configurationDigest: "d",
    };
  }

  readonly admin = {
    look: async (): Promise<JournalView> => {
      const up = this.names.filter((name) => !this.down.has(name));
      const reports = up.map((name) => this.#report(name));
      for (const [name, left] of this.lagging)
        if (left > 1) this.lagging.set(name, left - 1);
        else this.lagging.delete(name);
      return {
        answers: reports.map((report) => ({ rpc: report.address, report, tookMs: 1 })),
        leader: reports.find(({ isServing }) => isServing) ?? null,
        members: reports[0]?.members ?? [],
      };
    },
    transferTo: async (address: string) => {
      this.log.push(`transfer ${address}`);
      this.leader = address.replace(":1", "");
      return 5;
    },
  };

  master(name: string): RollingMaster {
    return {
      name,
      address: `${name}:1`,
      restart: async () => {
        this.log.push(`restart ${name}`);
        assert.notEqual(name, this.leader, "a leader is never restarted");
        assert.equal(this.lagging.size, 0, "the one before has caught up");
        if (this.failing.has(name)) {
          this.down.add(name);
          throw new Error("disk full");
        }
        this.lagging.set(name, 4);
      },
      verify: async () => (this.wrong.has(name) ? "old files" : null),
    };
  }

  roll(names = this.names): Promise<void> {
    return rollingRestart({
      admin: this.admin,
      masters: names.map((name) => this.master(name)),
      say: (line) => void this.log.push(line),
      catchUpWithinMs: 1000,
    });
  }

  steps(): readonly string[] {
    return this.log.filter((line) => /^(restart|transfer) /.test(line));
  }
}

const refused = (pattern: RegExp, status: "FAILED_PRECONDITION" | "ABORTED") => (error: unknown) =>
  isRockpoolError(error, status) && pattern.test(error.message) && error.remedy !== "";

test("S0-66 a rolling restart: standbys one by one, a hand-over, the former leader last, verified", async () => {
  const masters = new Masters(3);
  await masters.roll();
  assert.deepEqual(
    masters.steps().map((line) => line.replace(/transfer m[23]/, "transfer m?")),
    ["restart m2", "restart m3", "transfer m?:1", "restart m1"],
  );
  const said = masters.log.join("\n");
  for (const step of ["Step 1", "Step 2", "Step 3", "Step 4", "Step 5"])
    assert.ok(said.includes(step));
  assert.match(said, /it lacked 50 entries/);
});

test("rollingRestart() stops when a master does not come back, and restarts no other", async () => {
  const masters = new Masters(3);
  masters.failing.add("m2");
  await assert.rejects(
    masters.roll(),
    refused(
      /^m2 did not come back: disk full\. Stopped here; not restarted yet: m1, m2, m3$/,
      "ABORTED",
    ),
  );
  assert.deepEqual(masters.steps(), ["restart m2"]);
});

test("rollingRestart() restarts nothing while a voter is down, or when the quorum could not bear it", async () => {
  const one = new Masters(3);
  one.down.add("m3");
  await assert.rejects(one.roll(), refused(/m3:1 is down/, "FAILED_PRECONDITION"));
  const two = new Masters(2);
  await assert.rejects(
    two.roll(),
    refused(/Without m2 only 1 voters would be up and 2 are needed/, "FAILED_PRECONDITION"),
  );
  const single = new Masters(1);
  await assert.rejects(single.roll(), refused(/without an outage/, "FAILED_PRECONDITION"));
  for (const masters of [one, two, single]) assert.deepEqual(masters.steps(), []);
});

test("rollingRestart() refuses lists that are not the quorum's", async () => {
  const masters = new Masters(3);
  await assert.rejects(
    masters.roll(["m1", "m2"]),
    refused(/m3:1 votes and is not among them/, "FAILED_PRECONDITION"),
  );
  await assert.rejects(
    masters.roll(["m1", "m2", "m3", "m4"]),
    refused(/m4:1 is among them and does not vote/, "FAILED_PRECONDITION"),
  );
  assert.deepEqual(masters.steps(), []);
});

test("S0-66.5 rollingRestart() fails when a master runs with other files than its own", async () => {
  const masters = new Masters(3);
  masters.wrong.add("m2");
  await assert.rejects(
    masters.roll(),
    refused(/All masters were restarted, but m2: old files/, "FAILED_PRECONDITION"),
  );
});

test("a master that is deposed on the way is restarted as the standby that it is by then", async () => {
  const masters = new Masters(3);
  const first = masters.master("m2");
  const list = ["m1", "m3"].map((name) => masters.master(name));
  const deposed: RollingMaster = {
    ...first,
    restart: async () => {
      await first.restart();
      masters.lagging.clear(); // who lacks something is not elected
      masters.leader = "m2";
    },
  };
  await rollingRestart({
    admin: masters.admin,
    masters: [...list, deposed].sort((a, b) => a.name.localeCompare(b.name)),
    say: () => {},
    catchUpWithinMs: 1000,
  });
  assert.deepEqual(masters.steps(), ["restart m2", "restart m1", "restart m3"]);
});
