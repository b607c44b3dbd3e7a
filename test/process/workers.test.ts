/**
 * Workers that come and go while clients go on: started, stopped, killed, taken out of service, restarted with another
 * configuration. Promise under test: readers and writers of other workers' data notice nothing, those of the one that goes
 * move to another, and every master knows the workers as the leader does.
 * @module
 */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { FileSystem } from "../../src/client/file_system.ts";
import { messageOf } from "../../src/common/errors.ts";
import { nodeConfDir, nodeDir } from "../../src/local/cluster_files.ts";
import { BlockMasterClientService, WorkerRange } from "../../src/proto/gen/block_master.ts";
import { MasterChannel } from "../../src/rpc/master_channel.ts";
import { LocalCluster } from "./local_cluster.ts";

const MB = 1024 * 1024;
const TIMEOUT_MS = 2000;
const { methods } = BlockMasterClientService;

const digest = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

describe("workers that come and go", () => {
  let cluster: LocalCluster;
  let files: FileSystem;
  let masters: MasterChannel;

  before(async () => {
    cluster = await LocalCluster.start({
      masters: 3,
      workers: 2,
      workerBytes: 256 * MB,
      definitions: [
        `alluxio.master.worker.timeout=${TIMEOUT_MS}ms`,
        "alluxio.master.lost.worker.deletion.timeout=2sec",
        "alluxio.user.worker.list.refresh.interval=100ms",
      ],
    });
    files = await FileSystem.connect({ masters: cluster.masters, blockSizeBytes: 4 * MB });
    const addresses = [1, 2, 3].map((number) => ({
      host: "localhost",
      port: cluster.node("master", number).rpcPort,
    }));
    const { user } = cluster;
    masters = new MasterChannel({ addresses, auth: { kind: "simple", user } });
  });
  after(async () => {
    masters?.close();
    await files?.close();
    await cluster?.stop();
  });

  const portOf = (number: number) => cluster.node("worker", number).rpcPort;
  const webPortOf = (number: number) => cluster.node("worker", number).webPort;
  const only = (number: number) => files.onWorkers([`localhost:${portOf(number)}`]);

  /** Numbers of the workers on which new blocks may be placed, as the leader says. */
  async function inUse(): Promise<readonly number[]> {
    const { workerInfos } = await masters.unary(methods.GetWorkerInfoList, {});
    const ports = workerInfos.map(({ address }) => address?.rpcPort);
    return [1, 2, 3].filter((number) => number < 3 && ports.includes(portOf(number)));
  }

  /** Every known worker with its state. */
  async function states(): Promise<ReadonlyMap<number, string>> {
    const { workerInfos } = await masters.unary(methods.GetWorkerReport, {});
    const entries = workerInfos.map((info): [number, string] => [
      [1, 2].find((number) => portOf(number) === info.address?.rpcPort) ?? 0,
      info.state ?? "",
    ]);
    return new Map(entries.sort());
  }

  async function holders(path: string): Promise<readonly number[]> {
    const { blocks } = await files.getStatus(path);
    const ports = blocks.flatMap(({ locations }) =>
      locations.map(({ address }) => address.rpcPort),
    );
    return [1, 2].filter((number) => ports.includes(portOf(number)));
  }

  async function stop(number: number): Promise<void> {
    const { exit, stdout } = await cluster.cli(
      ...["local", "stop", "worker", String(number), "--dir", cluster.dir],
    );
    assert.equal(exit, 0, stdout);
  }

  async function elect(number: number): Promise<void> {
    const address = cluster.journalAddress(number);
    const { exit, stdout } = await cluster.cli("quorum", "elect", "--address", address);
    assert.equal(exit, 0, stdout);
  }

  /** Another master than now, which knows the workers only from their own reports to it. */
  async function changeLeader(): Promise<void> {
    await elect((await cluster.leader()) === 1 ? 2 : 1);
  }

  test("S0-61 a worker that is stopped leaves at once, on every master", async () => {
    await cluster.until("both are known", async () => (await inUse()).length === 2);
    await stop(2);
    assert.deepEqual([...(await states())], [[1, "LIVE"]]);
    await changeLeader();
    assert.deepEqual([...(await states())], [[1, "LIVE"]]);
  });

  test("S0-59 S0-60 a worker that is started is ACTIVE when its start is over, and gets blocks", async () => {
    await cluster.startProcess("worker", 2);
    assert.deepEqual(await inUse(), [1, 2]);
    await only(2).writeFile("/on-2", randomBytes(1000), { writeType: "MUST_CACHE" });
    assert.deepEqual(await holders("/on-2"), [2]);
  });

  test("a block that is only on a stopped worker is there again when the worker is", async () => {
    const before = await files.readFile("/on-2");
    await stop(2);
    assert.deepEqual(await holders("/on-2"), []);
    await cluster.startProcess("worker", 2);
    assert.deepEqual(await holders("/on-2"), [2]);
    assert.equal(digest(await files.readFile("/on-2")), digest(before));
  });

  test("S0-62 a worker that is killed is lost after alluxio.master.worker.timeout, then forgotten", async () => {
    cluster.kill("worker", 2, "SIGKILL");
    const killedMs = performance.now();
    assert.equal((await states()).get(2), "LIVE");
    await cluster.until("it is lost", async () => (await states()).get(2) === "LOST");
    assert.ok(performance.now() - killedMs > TIMEOUT_MS / 2);
    assert.deepEqual(await inUse(), [1]);
    assert.deepEqual(await holders("/on-2"), []);
    await cluster.until("it is forgotten", async () => !(await states()).has(2));
    await cluster.startProcess("worker", 2);
    assert.deepEqual(await inUse(), [1, 2]);
    assert.deepEqual(await holders("/on-2"), [2]);
  });

  test("reads under way move to another worker when theirs is killed", async () => {
    const content = randomBytes(24 * MB);
    await only(2).writeFile("/read", content, { writeType: "CACHE_THROUGH" });
    assert.deepEqual(await holders("/read"), [2]);
    const hash = createHash("sha256");
    let readBytes = 0;
    for await (const chunk of await files.createReadStream("/read")) {
      hash.update(chunk as Uint8Array);
      const isFirst = readBytes === 0;
      readBytes += (chunk as Uint8Array).length;
      if (isFirst) cluster.kill("worker", 2, "SIGKILL");
    }
    assert.equal(readBytes, content.length);
    assert.equal(hash.digest("hex"), digest(content));
    await cluster.startProcess("worker", 2);
  });

  /** Writes a file piece by piece, and does something to a worker in the middle. */
  async function write(
    path: string,
    writeType: "MUST_CACHE" | "CACHE_THROUGH",
    inTheMiddle: () => Promise<void>,
  ): Promise<Uint8Array> {
    const pieces = Array.from({ length: 24 }, () => randomBytes(MB));
    const out = await files.createFile(path, { writeType });
    let done: Promise<void> = Promise.resolve();
    for (const [at, piece] of pieces.entries()) {
      if (at === 6) done = inTheMiddle();
      if (!out.write(piece)) await new Promise((resolve) => out.once("drain", resolve));
    }
    const finished = new Promise((resolve, reject) => {
      out.once("finish", resolve);
      out.once("error", reject);
    });
    out.end();
    await finished;
    await done;
    return Buffer.concat(pieces);
  }

  test("a write under way goes on elsewhere when its worker is killed: each block moves as a whole", async () => {
    const content = await write("/write-killed", "MUST_CACHE", async () =>
      cluster.kill("worker", 2, "SIGKILL"),
    );
    // Blocks that were done before lie on the killed one, and nowhere else with this write type.
    await cluster.startProcess("worker", 2);
    assert.equal(digest(await files.readFile("/write-killed")), digest(content));
  });

  test("a block of many MiB moves as a whole, however much of it had been sent", async () => {
    const content = randomBytes(40 * MB);
    const out = await files.createFile("/large-block", {
      writeType: "MUST_CACHE",
      blockSizeBytes: 64 * MB,
    });
    for (let at = 0; at < content.length; at += MB) {
      // Whichever of the two has it, at least one of these is the loss of its worker.
      if (at === 15 * MB) {
        cluster.kill("worker", 1, "SIGKILL");
        await cluster.startProcess("worker", 1);
      }
      if (at === 30 * MB) cluster.kill("worker", 2, "SIGKILL");
      if (!out.write(content.subarray(at, at + MB)))
        await new Promise((resolve) => out.once("drain", resolve));
    }
    const finished = new Promise((resolve, reject) => {
      out.once("finish", resolve);
      out.once("error", reject);
    });
    out.end();
    await finished;
    assert.equal(digest(await files.readFile("/large-block")), digest(content));
    await cluster.startProcess("worker", 2);
  });

  test("a write under way through to the under store comes to its end when its worker is stopped", async () => {
    const content = await write("/write-stopped", "CACHE_THROUGH", () => stop(2));
    assert.equal(digest(await files.readFile("/write-stopped")), digest(content));
    await cluster.startProcess("worker", 2);
  });

  test("writers of small files notice nothing of a worker that is killed, stopped and started", async () => {
    let isOver = false;
    const failures: string[] = [];
    const written: string[] = [];
    const writer = (async () => {
      for (let number = 0; !isOver; number++) {
        const path = `/small/${number}`;
        try {
          await files.writeFile(path, path.repeat(1000), { writeType: "CACHE_THROUGH" });
          written.push(path);
        } catch (error) {
          failures.push(`${path}: ${messageOf(error)}`);
        }
      }
    })();
    const some = async () => {
      const goal = written.length + 20;
      await cluster.until("more is written", () => written.length >= goal || failures.length > 0);
    };
    await some();
    cluster.kill("worker", 2, "SIGKILL");
    await some();
    await cluster.startProcess("worker", 2);
    await some();
    await stop(1);
    await some();
    await cluster.startProcess("worker", 1);
    await some();
    isOver = true;
    await writer;
    assert.deepEqual(failures, []);
    for (const path of written)
      assert.equal(Buffer.from(await files.readFile(path)).toString(), path.repeat(1000));
  });

  const at = (number: number) => ({
    workerHostname: "localhost",
    workerWebPort: webPortOf(number),
  });
  const decommission = (number: number, canRegisterAgain: boolean) =>
    masters.unary(methods.DecommissionWorker, { ...at(number), canRegisterAgain });

  test("a decommissioned worker gets nothing new, serves what it has, and every master knows it", async () => {
    await only(2).writeFile("/before", "of old", { writeType: "MUST_CACHE" });
    await decommission(2, true);
    assert.deepEqual(
      [...(await states())],
      [
        [1, "LIVE"],
        [2, "DECOMMISSIONED"],
      ],
    );
    assert.deepEqual(await inUse(), [1]);
    const { blockMasterInfo } = await masters.unary(methods.GetBlockMasterInfo, {});
    assert.deepEqual(
      [
        blockMasterInfo?.liveWorkerNum,
        blockMasterInfo?.lostWorkerNum,
        blockMasterInfo?.decommissionedWorkerNum,
      ],
      [1, 0, 1],
    );
    const { workerInfos } = await masters.unary(methods.GetWorkerReport, {
      workerRange: WorkerRange.DECOMMISSIONED,
    });
    assert.deepEqual(
      workerInfos.map(({ address }) => address?.rpcPort),
      [portOf(2)],
    );
    const fresh = await FileSystem.connect({ masters: cluster.masters });
    try {
      for (let number = 0; number < 6; number++) {
        await fresh.writeFile(`/new-${number}`, "new", { writeType: "MUST_CACHE" });
        assert.deepEqual(await holders(`/new-${number}`), [1]);
      }
      assert.equal(Buffer.from(await fresh.readFile("/before")).toString(), "of old");
    } finally {
      await fresh.close();
    }
    await changeLeader();
    assert.equal((await states()).get(2), "DECOMMISSIONED");
    assert.deepEqual(await holders("/before"), [2]);
  });

  test("a decommissioned worker is in use again after its restart, or when it is enabled", async () => {
    await stop(2);
    await cluster.startProcess("worker", 2);
    assert.deepEqual(await inUse(), [1, 2]);
    await decommission(2, true);
    assert.deepEqual(await inUse(), [1]);
    await masters.unary(methods.RemoveDisabledWorker, at(2));
    assert.deepEqual(await inUse(), [1, 2]);
  });

  test("a worker that may not register again stays out over its restart, until it is enabled", async () => {
    await decommission(2, false);
    await stop(2);
    await cluster.startProcess("worker", 2);
    assert.deepEqual(
      [...(await states())],
      [
        [1, "LIVE"],
        [2, "DECOMMISSIONED"],
      ],
    );
    assert.deepEqual(await holders("/before"), [2]);
    await masters.unary(methods.RemoveDisabledWorker, at(2));
    assert.deepEqual(await inUse(), [1, 2]);
    await stop(2);
    await cluster.startProcess("worker", 2);
    assert.deepEqual(await inUse(), [1, 2]);
  });

  test("decommissioning who is not known, or does not answer, is refused with what there is", async () => {
    await assert.rejects(
      masters.unary(methods.DecommissionWorker, { workerHostname: "nobody", workerWebPort: 1 }),
      /No worker nobody:1 is known: there are localhost:\d+, localhost:\d+/,
    );
    await assert.rejects(
      masters.unary(methods.DecommissionWorker, { workerHostname: "localhost" }),
      /2 workers run on localhost/,
    );
    const stranger = new MasterChannel({
      addresses: [
        { host: "localhost", port: cluster.node("master", await cluster.leader()).rpcPort },
      ],
      auth: { kind: "simple", user: "somebody-else" },
    });
    try {
      await assert.rejects(
        stranger.unary(methods.DecommissionWorker, at(2)),
        /may not decommission workers/,
      );
    } finally {
      stranger.close();
    }
  });

  test("S0-67 another size and one more folder come with a restart, and the blocks stay", async () => {
    const node = cluster.node("worker", 2);
    const site = join(nodeConfDir(cluster.dir, node), "alluxio-site.properties");
    const more = join(nodeDir(cluster.dir, node), "more");
    mkdirSync(more);
    const text = readFileSync(site, "utf8");
    const path = /level0\.dirs\.path=(.*)/.exec(text)?.[1] ?? "";
    assert.notEqual(path, "", text);
    await stop(2);
    writeFileSync(
      site,
      `${text}\nalluxio.worker.tieredstore.level0.dirs.path=${path},${more}\nalluxio.worker.tieredstore.level0.dirs.quota=300MB,200MB\n`,
    );
    await cluster.startProcess("worker", 2);
    const capacity = async () => {
      const { workerInfos } = await masters.unary(methods.GetWorkerReport, {});
      return workerInfos.find(({ address }) => address?.rpcPort === portOf(2))?.capacityBytes;
    };
    assert.equal(await capacity(), 500 * MB);
    assert.deepEqual(await holders("/before"), [2]);
    assert.equal(Buffer.from(await files.readFile("/before")).toString(), "of old");
    // Blocks of a folder that is taken away have no place any more.
    await stop(2);
    writeFileSync(site, `${text}\nalluxio.worker.tieredstore.level0.dirs.path=${more}\n`);
    await cluster.startProcess("worker", 2);
    assert.deepEqual(await holders("/before"), []);
    await stop(2);
    writeFileSync(site, text);
    await cluster.startProcess("worker", 2);
    assert.deepEqual(await holders("/before"), [2]);
  });
});
