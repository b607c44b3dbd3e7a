/**
 * Clients write without pause while the leader is killed, again and again, and while it is stopped.
 * Promise under test: every acknowledged file is there afterwards, with its bytes, and no client sees an error.
 * The gaps are reported, not judged: how long they are belongs to the benches.
 * @module
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { percentile } from "../../bench/harness.ts";
import { FileSystem } from "../../src/client/file_system.ts";
import { JavaWriter, javaToolchain } from "../interop/java_client.ts";
import { type Acknowledged, longestGapMs } from "../process/gaps.ts";
import { LocalCluster } from "../process/local_cluster.ts";
import { OwnWriter } from "../process/own_writer.ts";

const KILLS = 10;
const STOPPED_MS = 10_000;
const java = javaToolchain();

async function verifyAll(
  cluster: LocalCluster,
  directory: string,
  names: readonly string[],
): Promise<void> {
  const fileSystem = await FileSystem.connect({ masters: cluster.masters, user: cluster.user });
  try {
    for (const name of names) {
      const content = await fileSystem.readFile(`${directory}/${name}`);
      assert.equal(Buffer.from(content).toString(), name.repeat(100), `${directory}/${name}`);
    }
  } finally {
    await fileSystem.close();
  }
}

describe("fail-over under load", () => {
  let cluster: LocalCluster;
  before(async () => {
    cluster = await LocalCluster.start({ masters: 3, workers: 2 });
  });
  after(async () => {
    await cluster?.stop();
  });

  async function underLoad(
    directory: string,
    body: (writers: readonly { readonly acknowledged: readonly Acknowledged[] }[]) => Promise<void>,
  ): Promise<void> {
    const own = await OwnWriter.start(cluster, `${directory}/own`);
    const writers: (OwnWriter | JavaWriter)[] = [own];
    if (java.kind === "ready") {
      const settings = { "alluxio.master.rpc.addresses": cluster.masters.join(",") };
      writers.push(new JavaWriter(java.classpath, `${directory}/java`, "MUST_CACHE", settings));
    }
    await Promise.all(writers.map((writer) => writer.ready));
    try {
      await body(writers);
    } finally {
      await Promise.all(writers.map((writer) => writer.stop()));
    }
    for (const [i, writer] of writers.entries()) {
      assert.deepEqual(writer.failures, [], "no write failed at a client");
      const folder = `${directory}/${i === 0 ? "own" : "java"}`;
      await verifyAll(
        cluster,
        folder,
        writer.acknowledged.map(({ name }) => name),
      );
    }
  }

  /** Resolves when each writer has had `count` more acknowledgements. */
  async function progress(
    writers: readonly { readonly acknowledged: readonly Acknowledged[] }[],
    count: number,
  ): Promise<void> {
    const targets = writers.map(({ acknowledged }) => acknowledged.length + count);
    await cluster.until("the writers go on", () =>
      writers.every(({ acknowledged }, i) => acknowledged.length >= (targets[i] ?? 0)),
    );
  }

  test(`S0-5 S0-6 S0-7 no acknowledged file is lost when the leader is killed ${KILLS} times`, async (t) => {
    await underLoad("/killed", async (writers) => {
      await progress(writers, 20);
      const gaps: number[][] = writers.map(() => []);
      for (let round = 0; round < KILLS; round++) {
        const leader = await cluster.leader();
        const killedMs = Date.now();
        cluster.kill("master", leader, "SIGKILL");
        await progress(writers, 20);
        const roundGaps = writers.map(({ acknowledged }, i) => {
          const gap = longestGapMs(acknowledged, killedMs);
          gaps[i]?.push(gap);
          return gap;
        });
        t.diagnostic(
          `round ${round}: master ${leader} killed, longest gaps own ${roundGaps.join(" ms, java ")} ms`,
        );
        await cluster.startProcess("master", leader);
        await cluster.untilHealthy();
      }
      for (const [i, values] of gaps.entries())
        t.diagnostic(
          `${i === 0 ? "own client" : "Java client"}: p50 ${percentile(values, 0.5)} ms, max ${Math.max(...values)} ms`,
        );
    });
  });

  test(`S0-9 no acknowledged file is lost when the leader is stopped for ${STOPPED_MS} ms, and it steps down`, async () => {
    await underLoad("/stopped", async (writers) => {
      await progress(writers, 20);
      const old = await cluster.leader();
      cluster.kill("master", old, "SIGSTOP");
      try {
        await cluster.until(
          "another master leads",
          async () => (await cluster.leaderAmong([old])) !== null,
        );
        await new Promise((wake) => setTimeout(wake, STOPPED_MS)); // the length of the stop is what is tested
      } finally {
        cluster.kill("master", old, "SIGCONT");
      }
      await cluster.untilHealthy();
      const others = [1, 2, 3].filter((number) => number !== old);
      // It woke up believing that it leads; that it hears of the new term soon is what is awaited here.
      await cluster.until(
        "the stopped master follows",
        async () => (await cluster.leaderAmong(others)) === null,
      );
      await progress(writers, 20);
    });
  });
});
