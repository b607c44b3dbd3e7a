/**
 * Alluxio 2.9.4's own programs, unmodified, about the configuration of our masters: doctor, defaults of paths, changes at
 * run time, and where a value comes from.
 * @module
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { appendFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { nodeConfDir } from "../../src/local/cluster_files.ts";
import { LocalCluster } from "../process/local_cluster.ts";
import { fetchJars, javaToolchain } from "./java_client.ts";

const java = javaToolchain();
const SHELL = "alluxio.cli.fsadmin.FileSystemAdminShell";

describe("Alluxio's programs about the configuration", { skip: java.kind === "missing" }, () => {
  const home = mkdtempSync(join(tmpdir(), "rockpool-java-conf-"));
  let cluster: LocalCluster;
  let jars = "";

  before(async () => {
    jars = fetchJars("bench/anchors/pom.xml", "alluxio-servers");
    cluster = await LocalCluster.start({
      masters: 3,
      workers: 1,
      definitions: [
        "alluxio.conf.dynamic.update.enabled=true",
        "alluxio.master.standby.heartbeat.interval=100ms",
      ],
    });
  });
  after(async () => {
    await cluster?.stop();
    rmSync(home, { recursive: true, force: true });
  });

  function java294(
    program: string,
    ...words: readonly string[]
  ): Promise<{ exit: number; stdout: string }> {
    const properties = [
      `-Dalluxio.master.rpc.addresses=${cluster.masters.join(",")}`,
      `-Dalluxio.home=${home}`,
      "-Dalluxio.logger.type=NONE",
    ];
    const given = ["-cp", `${jars}/*`, ...properties, program, ...words];
    return new Promise((resolve) => {
      execFile("java", given, (error, stdout) => {
        resolve({ exit: typeof error?.code === "number" ? error.code : 0, stdout });
      });
    });
  }
  const fsadmin = (...words: readonly string[]) => java294(SHELL, ...words);

  test("doctor: all alike, and one master that differs", async () => {
    const well = await fsadmin("doctor");
    assert.equal(
      well.stdout,
      "No server-side configuration errors or warnings.\nAll worker storage paths are in working state.\n",
    );
    const other = (await cluster.leader()) === 1 ? 2 : 1;
    const conf = nodeConfDir(cluster.dir, cluster.node("master", other));
    const umask = "alluxio.security.authorization.permission.umask";
    appendFileSync(join(conf, "alluxio-site.properties"), `${umask}=077\n`);
    const words = ["master", String(other), "--dir", cluster.dir];
    assert.equal((await cluster.cli("local", "stop", ...words)).exit, 0);
    await cluster.startProcess("master", other);
    await cluster.until("it has reported", async () =>
      /077/.test((await cluster.cli("fsadmin", "doctor")).stdout),
    );
    const { stdout } = await fsadmin("doctor", "configuration");
    const rpc = `localhost:${cluster.node("master", other).rpcPort}`;
    assert.match(
      stdout,
      /^Server-side configuration errors \(those properties are required to be identical\): \n/,
    );
    assert.ok(stdout.includes(`key: ${umask}\n`), stdout);
    assert.ok(stdout.includes(`077 (${rpc})`), stdout);
  });

  test("pathConf add, show, list and remove", async () => {
    const property = "alluxio.user.file.writetype.default=THROUGH";
    assert.equal((await fsadmin("pathConf", "add", "--property", property, "/p")).exit, 0);
    assert.equal((await fsadmin("pathConf", "list")).stdout, "/p\n");
    assert.equal((await fsadmin("pathConf", "show", "/p")).stdout, `${property}\n`);
    assert.equal((await fsadmin("pathConf", "remove", "/p")).exit, 0);
    assert.equal((await cluster.cli("fsadmin", "pathConf", "list")).stdout, "");
  });

  test("updateConf", async () => {
    const taken = await fsadmin("updateConf", "alluxio.master.worker.timeout=3min");
    assert.equal(taken.stdout, "Updated 1 configs\n");
    const shown = await cluster.cli("conf", "get", "--master", "alluxio.master.worker.timeout");
    assert.equal(shown.stdout, "3min\n");
    const refused = await fsadmin("updateConf", "alluxio.master.hostname=m");
    assert.equal(refused.exit, 254);
    assert.match(
      refused.stdout,
      /^Updated 1 configs\nFailed to Update alluxio\.master\.hostname\n$/,
    );
  });

  test("getConf --master", async () => {
    const value = await java294("alluxio.cli.GetConf", "--master", "alluxio.master.journal.type");
    assert.equal(value.stdout, "EMBEDDED\n");
    const source = await java294(
      "alluxio.cli.GetConf",
      "--master",
      "--source",
      "alluxio.master.hostname",
    );
    assert.match(source.stdout, /^SITE_PROPERTY \(.*alluxio-site\.properties:\d+\)\n$/);
  });
});
