/**
 * Alluxio 2.9.4's own administrator's shell, unmodified, against our masters: members, hand-over, checkpoint, backup.
 * @module
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { LocalCluster } from "../process/local_cluster.ts";
import { fetchJars, javaToolchain } from "./java_client.ts";

const java = javaToolchain();
const SHELLS = {
  fs: "alluxio.cli.fs.FileSystemShell",
  fsadmin: "alluxio.cli.fsadmin.FileSystemAdminShell",
};

describe("Alluxio's administrator's shell", { skip: java.kind === "missing" }, () => {
  const home = mkdtempSync(join(tmpdir(), "rockpool-admin-"));
  let cluster: LocalCluster;
  let jars = "";

  before(async () => {
    jars = fetchJars("bench/anchors/pom.xml", "alluxio-servers");
    cluster = await LocalCluster.start({ masters: 3, workers: 1 });
  });
  after(async () => {
    await cluster?.stop();
    rmSync(home, { recursive: true, force: true });
  });

  function fsadmin(...words: readonly string[]): Promise<{ exit: number; stdout: string }> {
    return theirs("fsadmin", words);
  }

  function theirs(
    shell: keyof typeof SHELLS,
    words: readonly string[],
  ): Promise<{ exit: number; stdout: string }> {
    const properties = [
      `-Dalluxio.master.rpc.addresses=${cluster.masters.join(",")}`,
      `-Dalluxio.home=${home}`,
      "-Dalluxio.logger.type=NONE",
    ];
    const given = ["-cp", `${jars}/*`, ...properties, SHELLS[shell], ...words];
    return new Promise((resolve) => {
      execFile("java", given, (error, stdout) => {
        resolve({ exit: typeof error?.code === "number" ? error.code : 0, stdout });
      });
    });
  }

  test("journal quorum info, elect and remove", async () => {
    const leader = await cluster.leader();
    const info = await fsadmin("journal", "quorum", "info", "-domain", "MASTER");
    assert.equal(
      info.stdout,
      [
        "Journal domain\t: MASTER",
        "Quorum size\t: 3",
        `Quorum leader\t: ${cluster.journalAddress(leader)}`,
        "",
        "STATE       | PRIORITY | SERVER ADDRESS",
        ...[1, 2, 3]
          .map((number) => cluster.journalAddress(number))
          .sort()
          .map((address) => `AVAILABLE   | 1        | ${address}`),
        "",
      ].join("\n"),
    );
    const heir = cluster.journalAddress(leader === 1 ? 2 : 1);
    const elected = await fsadmin("journal", "quorum", "elect", "-address", heir);
    assert.equal(
      elected.stdout,
      [
        `Initiating transfer of leadership to ${heir}`,
        `Successfully elected ${heir} as the new leader`,
        "Resetting priorities of masters after successful transfer of leadership",
        "Quorum priorities were reset to 1",
        "",
      ].join("\n"),
    );
    const again = await fsadmin("journal", "quorum", "elect", "-address", heir);
    assert.match(
      again.stdout,
      new RegExp(`\nFailed to elect ${heir} .*: ${heir} is already the leader\n`),
    );
    const remove = ["journal", "quorum", "remove", "-domain", "MASTER", "-address", "localhost:1"];
    const unknown = await fsadmin(...remove);
    assert.equal(unknown.exit, 255);
    assert.match(unknown.stdout, /localhost:1 is no member of the quorum/);
  });

  test("journal checkpoint", async () => {
    const { exit, stdout } = await fsadmin("journal", "checkpoint");
    assert.equal(exit, 0, stdout);
    assert.match(stdout, /Successfully took a checkpoint on master localhost\n$/);
  });

  test("backup", async () => {
    const folder = join(home, "backups");
    const { exit, stdout } = await fsadmin("backup", folder, "--local");
    assert.equal(exit, 0, stdout);
    assert.match(
      stdout,
      /Backup Host {8}: localhost\nBackup URI {9}: \S+\nBackup Entry Count : \d+\n$/,
    );
    assert.equal(readdirSync(folder).length, 1);
  });

  test("both shells print the same, letter for letter, and end with the same exit code", async () => {
    writeFileSync(join(home, "small"), "hello\n");
    for (const [name, type] of [
      ["through", "CACHE_THROUGH"],
      ["only", "MUST_CACHE"],
    ] as const) {
      const property = `-Dalluxio.user.file.writetype.default=${type}`;
      const put = await cluster.cli(
        "fs",
        property,
        "copyFromLocal",
        join(home, "small"),
        `/j/${name}`,
      );
      assert.equal(put.exit, 0, put.stdout);
    }
    const different: unknown[] = [];
    for (const line of [
      ...["fs ls -R /", "fs du /j", "fs count /j", "fs location /j/through", "fs stat /j/only"],
      ...["fs free /j", "fs free /j/through", "fs free /nope", "fs freeWorker nobody"],
      ...["fs checkConsistency /j", "fs mkdir /j", "fs mkdir", "fs getUsedBytes", "fs mount"],
      ...["fsadmin report proxy", "fsadmin report ufs", "fsadmin getBlockInfo x"],
      ...["fsadmin statelock", "fsadmin journal quorum info -domain MASTER"],
    ]) {
      const [shell = "fs", ...words] = line.split(" ");
      const wanted = await theirs(shell === "fs" ? "fs" : "fsadmin", words);
      const { exit, stdout } = await cluster.cli(shell, ...words);
      if (exit !== wanted.exit || same(stdout) !== same(wanted.stdout))
        different.push({ line, ours: stdout, theirs: wanted.stdout, exits: [exit, wanted.exit] });
    }
    assert.deepEqual(different, []);
  });
});

/** Without what may differ: descriptions behind a usage line, and how full the disk is. */
function same(text: string): string {
  const [first, usage] = text.split("\n");
  if (usage?.startsWith("Usage: ") === true) return `${first}\n${usage}`;
  return text.replace(/used=[^)]*\)/, "used");
}
