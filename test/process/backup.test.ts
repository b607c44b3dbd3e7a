/**
 * Backups of a cluster that is written to, and new clusters that begin with one. Promise under test: a restored namespace has the digest of
 * the backup and files that can be read; a bad file, or a cluster that has had files, is refused before anything is touched.
 * @module
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { FileSystem } from "../../src/client/file_system.ts";
import { EXIT } from "../../src/common/errors.ts";
import { DirectoryWriter } from "./directory_writer.ts";
import { freePortOffset, LocalCluster } from "./local_cluster.ts";

const KEY = "alluxio.master.journal.init.from.backup";
const LINES =
  /^Backup Host {8}: localhost\nBackup URI {9}: (\S+\/alluxio-backup-\d+-\d+-\d+-\d+\.rockpool)\nBackup Entry Count : (\d+)\n$/;
const CONTENT = "content ".repeat(1000);

async function run(cluster: LocalCluster, ...words: readonly string[]): Promise<string> {
  const { exit, stdout, stderr } = await cluster.cli(...words);
  assert.equal(exit, 0, `${words.join(" ")}: ${stdout}${stderr}`);
  return stdout;
}

async function stopMasters(cluster: LocalCluster): Promise<void> {
  for (const number of [1, 2, 3])
    if (cluster.isRunning("master", number)) cluster.kill("master", number, "SIGKILL");
  for (const number of [1, 2, 3])
    await cluster.until(`master ${number} ends`, () => !cluster.isRunning("master", number));
}

describe("backup and restore of a cluster", () => {
  const folder = mkdtempSync(join(tmpdir(), "rockpool-backup-"));
  let cluster: LocalCluster;
  let file = "";

  before(async () => {
    cluster = await LocalCluster.start({ masters: 3, workers: 1 });
    const files = await FileSystem.connect({
      masters: cluster.masters,
      writeType: "CACHE_THROUGH",
    });
    for (let i = 0; i < 20; i++) await files.writeFile(`/files/f${i}`, `${i} ${CONTENT}`);
    await files.close();
  });
  after(async () => {
    await cluster?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  /** The digest that some master logged last. */
  function digestOf(pattern: RegExp): string {
    const said = [1, 2, 3].map((number) => cluster.log("master", number)).join("\n");
    return [...said.matchAll(pattern)].at(-1)?.[1] ?? "";
  }

  test("a backup is made while a client writes, into the under store and onto the leader's disk", async () => {
    const writer = await DirectoryWriter.start(cluster, "/while");
    const gap = await writer.gapDuring(cluster, async () => {
      const [, uri = "", count = ""] = LINES.exec(await run(cluster, "fsadmin", "backup")) ?? [];
      assert.match(uri, /\/underFSStorage\/alluxio_backups\//);
      assert.ok(Number(count) > 20, count);
      const local = await run(cluster, "journal", "backup", "--path", folder, "--local");
      assert.match(local, LINES);
      assert.ok(local.includes(`: ${folder}/`), local);
    });
    await writer.close();
    console.log(`two backups while a client writes: longest gap ${gap} ms`);
    assert.deepEqual(writer.failures, []);
    const refused = await cluster.cli("fsadmin", "backup", "not/absolute");
    assert.equal(refused.exit, 255);
    assert.match(refused.stdout, /"not\/absolute" is no directory for backups/);
    [, file = ""] =
      LINES.exec(await run(cluster, "journal", "backup", "--local", "--path", folder)) ?? [];
    assert.notEqual(file, "");
  });

  test("a damaged backup refuses the start, and leaves the fresh journal as it was", async () => {
    await stopMasters(cluster);
    for (const number of [1, 2, 3]) await cluster.wipe(number);
    const bytes = readFileSync(file);
    const damaged = join(folder, "damaged.rockpool");
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
    writeFileSync(damaged, bytes);
    const identity = readFileSync(join(cluster.journalOf(1), "journal.json"), "utf8");
    const words = ["local", "start", "master", "1", "--dir", cluster.dir];
    for (const [bad, why] of [
      [damaged, /The backup is damaged: /],
      [join(folder, "none"), /none is not a file in the under store/],
    ] as const) {
      const { exit } = await cluster.cli(...words, `-D${KEY}=${bad}`);
      assert.equal(exit, 1);
      const said = cluster.log("master", 1);
      assert.match(said, new RegExp(`cannot start: Cannot restore ${bad} .*`));
      assert.match(said, why);
      assert.match(said, new RegExp(`exitCode=${EXIT.usage}`));
    }
    assert.equal(readFileSync(join(cluster.journalOf(1), "journal.json"), "utf8"), identity);
  });

  test("formatted masters begin with a backup: the digest is the same on all, and files are read", async () => {
    await run(cluster, "local", "start", "--dir", cluster.dir, `-D${KEY}=${file}`);
    const restored = /Restored (\d+) entries from backup file=\S+ digest=([0-9a-f]{64})/g;
    await cluster.until("it is restored", () => digestOf(restored) !== "");
    const digest = [
      ...[1, 2, 3]
        .map((n) => cluster.log("master", n))
        .join("\n")
        .matchAll(restored),
    ].at(-1)?.[2];
    for (const number of [1, 2, 3]) {
      await run(cluster, "quorum", "elect", "--address", cluster.journalAddress(number)).catch(
        () => "", // it leads already
      );
      assert.equal(await cluster.leader(), number);
      await run(cluster, "journal", "backup", "--local", "--path", join(folder, "again"));
      const made = /backupMade path=\S+\/again\/\S+ .*digest=([0-9a-f]{64})/g;
      assert.equal([...cluster.log("master", number).matchAll(made)].at(-1)?.[1], digest);
    }
    const files = await FileSystem.connect({ masters: cluster.masters });
    for (let i = 0; i < 20; i++) {
      const content = Buffer.from(await files.readFile(`/files/f${i}`)).toString();
      assert.equal(content, `${i} ${CONTENT}`);
    }
    await files.writeFile("/files/new", "new");
    await files.close();
    assert.equal(readdirSync(join(folder, "again")).length, 3);
  });

  test("a cluster that has files is left as it is", async () => {
    await stopMasters(cluster);
    await run(cluster, "local", "start", "--dir", cluster.dir, `-D${KEY}=${file}`);
    await cluster.until("the leader says so", () =>
      [1, 2, 3].some((number) =>
        /backup is not restored: this cluster has files already/.test(
          cluster.log("master", number),
        ),
      ),
    );
    assert.equal(await run(cluster, "fs", "cat", "/files/new"), "new");
  });
});

describe("a lone master of this host", () => {
  const home = mkdtempSync(join(tmpdir(), "rockpool-lone-"));
  const CLI = resolve("dist/cli.cjs");
  after(() => rmSync(home, { recursive: true, force: true }));

  test("journal backup, and process start master --journal-backup-file", async () => {
    const offset = await freePortOffset(1, 1);
    const definitions = [
      "alluxio.master.hostname=localhost",
      `alluxio.master.rpc.port=${19_998 + offset}`,
      `alluxio.master.web.port=${19_999 + offset}`,
      `alluxio.master.embedded.journal.port=${19_200 + offset}`,
    ].map((definition) => `-D${definition}`);
    const command = async (words: readonly string[], expected: RegExp, exit = 0) => {
      const env = { ...process.env, ALLUXIO_HOME: home };
      const child = spawn(process.execPath, [CLI, ...words, ...definitions], { env, cwd: home });
      let out = "";
      child.stdout.on("data", (chunk) => {
        out += String(chunk);
      });
      await once(child, "close");
      assert.match(out, expected);
      assert.equal(child.exitCode, exit, out);
      return out;
    };
    await command(["init", "format", "--skip-worker"], /Format successful on master\.\n$/);
    try {
      await command(["process", "start", "master"], /in a healthy state\n$/);
      await command(["fs", "mkdir", "/kept"], /created/);
      const made = await command(["fsadmin", "backup", home, "--local"], LINES);
      const [, file = ""] = LINES.exec(made) ?? [];
      const used = ["process", "start", "master", "--journal-backup-file", file];
      await command(
        used,
        /\[ FAILED \] The backup is not restored: this cluster has files already/,
        255,
      );
      await command(["process", "stop", "master"], /Successfully killed 1 process/);
      await command(["init", "format", "--skip-worker", "-y"], /Format successful/);
      await command(
        ["process", "start", "master", "-i", file.slice(home.length + 1)],
        /Restored 2 entries from backup\n.*\[ OK \] The master process is in a healthy state\n$/,
      );
      await command(["fs", "ls", "/"], /\/kept\n$/);
    } finally {
      await command(["process", "stop", "master"], /Successfully killed/);
    }
  });
});
