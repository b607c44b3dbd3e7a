/**
 * How the unmodified Alluxio 2.9.4 client under Hadoop's FsShell finds our masters: every form of address that it knows, which is the stronger, and
 * that it takes defaults of the cluster and of paths. Where it refuses a form that our own client takes, that is written
 * down here too.
 * @module
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { LocalCluster } from "../process/local_cluster.ts";
import { HadoopShell, javaToolchain } from "./java_client.ts";

const java = javaToolchain();
if (java.kind === "missing") {
  const line = `INTEROP NOT TESTED: ${java.why}`;
  console.error(`\n${"!".repeat(line.length)}\n${line}\n${"!".repeat(line.length)}\n`);
  if (process.env["ROCKPOOL_REQUIRE_JAVA"] === "1") throw new Error(line);
}

const MASTERS = "alluxio.master.rpc.addresses";
const WRITE_TYPE = "alluxio.user.file.writetype.default";
const NOWHERE = "localhost:1";
/** So that a client that must fail does so within a test. */
const SOON = {
  "alluxio.user.rpc.retry.max.duration": "1s",
  "alluxio.user.master.polling.timeout": "300ms",
};

describe("addresses of the Java client", { skip: java.kind === "missing" }, () => {
  const folder = mkdtempSync(join(tmpdir(), "rockpool-interop-"));
  const local = join(folder, "bytes");
  let cluster: LocalCluster;
  let shell: HadoopShell;
  let masters: readonly string[] = [];
  const joined = (separator: string) => masters.join(separator);

  before(async () => {
    assert.ok(java.kind === "ready");
    writeFileSync(local, "some bytes");
    cluster = await LocalCluster.start({
      masters: 3,
      workers: 1,
      definitions: [`${WRITE_TYPE}=MUST_CACHE`, "alluxio.master.bind.host=::"],
    });
    masters = cluster.masters;
    shell = new HadoopShell(java.classpath);
    const made = await cluster.cli("fs", "mkdir", "/d", "/d/here", "/p");
    assert.equal(made.exit, 0, made.stdout);
  });

  after(async () => {
    await shell?.close();
    await cluster?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  async function finds(uri: string, settings: Readonly<Record<string, string>> = {}) {
    await shell.configure(settings);
    const { exit, stdout, stderr } = await shell.fs("-ls", uri);
    assert.equal(exit, 0, `${uri}: ${stderr}`);
    assert.match(stdout.toString(), /\/d\/here\s/);
  }

  async function fails(uri: string, settings: Readonly<Record<string, string>>, why: RegExp) {
    await shell.configure(settings);
    const { exit, stderr } = await shell.fs("-ls", uri);
    assert.notEqual(exit, 0, uri);
    assert.match(stderr, why);
  }

  test("S0-38 S0-39 S0-40 alluxio:/// takes the masters of core-site.xml", async () => {
    await finds("alluxio:///d", { [MASTERS]: joined(",") });
    await finds("/d", { [MASTERS]: joined(","), "fs.defaultFS": "alluxio:///" });
  });

  test("S0-42 S0-45 the authority lists the masters with commas", async () => {
    await finds(`alluxio://${joined(",")}/d`);
    await finds(`alluxio://${await cluster.leaderAddress()}/d`);
  });

  test("S0-46 the authority parts masters with ; or + too", async () => {
    await finds(`alluxio://${joined(";")}/d`);
    await finds(`alluxio://${joined("+")}/d`);
  });

  test("S0-44 blanks after commas: in a property; in a URI java.net.URI refuses them before any client sees it", async () => {
    await finds("alluxio:///d", { [MASTERS]: joined(", ") });
    await fails(`alluxio://${joined(", ")}/d`, SOON, /Illegal character in authority/);
  });

  test("IPv6 addresses are refused by this client, in a URI and in a property", async () => {
    const addresses = masters.map((address) => `[::1]:${address.split(":")[1]}`).join(",");
    await fails(`alluxio://${addresses}/d`, SOON, /Illegal character in port number/);
    await fails("alluxio:///d", { ...SOON, [MASTERS]: addresses }, /Failed to parse host:port/);
  });

  test("S1-29 alluxio-ft:// is refused by this client's class also when it is configured for it", async () => {
    const settings = { "fs.alluxio-ft.impl": "alluxio.hadoop.FileSystem", [MASTERS]: joined(",") };
    await fails(
      "alluxio-ft:///d",
      settings,
      /scheme alluxio-ft does not match the expected scheme alluxio/,
    );
  });

  test("a bare name is unknown, and a logical name names the key that is missing", async () => {
    await fails("alluxio://my-cluster/d", SOON, /Authority "my-cluster" is unknown/);
    await fails("alluxio://ebj@nobody/d", SOON, /alluxio\.master\.nameservices\.nobody/);
  });

  test("S0-43 the authority beats the properties", async () => {
    await finds(`alluxio://${joined(",")}/d`, { [MASTERS]: NOWHERE });
    await fails(
      `alluxio://${NOWHERE}/d`,
      { ...SOON, [MASTERS]: joined(",") },
      /UNAVAILABLE|[Uu]navailable|Failed/,
    );
  });

  test("S0-47 S0-48 S0-49 S0-50 a logical name", async () => {
    const names = Object.fromEntries(
      masters.map((address, at) => [
        `alluxio.master.rpc.address.my-alluxio-cluster.master${at + 1}`,
        address,
      ]),
    );
    const ids = { "alluxio.master.nameservices.my-alluxio-cluster": "master1,master2,master3" };
    await finds("alluxio://ebj@my-alluxio-cluster/d", { ...names, ...ids });
  });

  test("S0-43 defaults of the cluster and of paths reach the client; its own settings beat the cluster's, and not a path's", async () => {
    const added = await cluster.cli(
      "fsadmin",
      "pathConf",
      "add",
      "--property",
      `${WRITE_TYPE}=THROUGH`,
      "/p",
    );
    assert.equal(added.exit, 0, added.stdout);
    const uri = `alluxio://${joined(",")}`;
    const stateOf = async (path: string, settings: Readonly<Record<string, string>> = {}) => {
      await shell.configure(settings);
      const put = await shell.fs("-put", local, `${uri}${path}`);
      assert.equal(put.exit, 0, put.stderr);
      const { stdout } = await cluster.cli("fs", "ls", path);
      return /(NOT_PERSISTED|TO_BE_PERSISTED|PERSISTED) .* (\d+%)/.exec(stdout)?.slice(1).join(" ");
    };
    assert.equal(await stateOf("/d/cluster"), "NOT_PERSISTED 100%");
    assert.equal(await stateOf("/p/path"), "PERSISTED 0%");
    const own = { [WRITE_TYPE]: "CACHE_THROUGH" };
    assert.equal(await stateOf("/d/own", own), "PERSISTED 100%");
    // Ours does as the client's settings say; this one prefers the path's.
    assert.equal(await stateOf("/p/own", own), "PERSISTED 0%");
  });

  test("S0-41 the client takes Java options of its JVM", async () => {
    assert.ok(java.kind === "ready");
    const before = process.env["JAVA_TOOL_OPTIONS"];
    process.env["JAVA_TOOL_OPTIONS"] = `-D${MASTERS}=${joined(",")}`;
    const given = new HadoopShell(java.classpath);
    if (before === undefined) delete process.env["JAVA_TOOL_OPTIONS"];
    else process.env["JAVA_TOOL_OPTIONS"] = before;
    try {
      await given.configure({});
      const { exit, stderr } = await given.fs("-ls", "alluxio:///d");
      assert.equal(exit, 0, stderr);
    } finally {
      await given.close();
    }
  });

  test("S1-29 S1-30 S1-31 alluxio-ft:// works with the class in hadoop/, whatever host it names", async () => {
    assert.ok(java.kind === "ready");
    const source = "hadoop/src/main/java/alluxio/hadoop/FaultTolerantFileSystem.java";
    const javac = ["-nowarn", "-d", folder, "-cp", java.classpath, source];
    execFileSync("javac", javac, { stdio: "inherit" });
    const given = new HadoopShell(`${folder}:${java.classpath}`);
    try {
      await given.configure({
        "fs.alluxio-ft.impl": "alluxio.hadoop.FaultTolerantFileSystem",
        [MASTERS]: joined(","),
      });
      for (const uri of ["alluxio-ft:///d", "alluxio-ft://anything/d", "alluxio-ft://m9:1/d"]) {
        const { exit, stdout, stderr } = await given.fs("-ls", uri);
        assert.equal(exit, 0, `${uri}: ${stderr}`);
        assert.match(stdout.toString(), /\/d\/here\s/);
      }
      const put = await given.fs("-put", local, "alluxio-ft://anything/d/ft");
      assert.equal(put.exit, 0, put.stderr);
      const read = await given.fs("-cat", "alluxio-ft:///d/ft");
      assert.equal(read.stdout.toString(), "some bytes");
    } finally {
      await given.close();
    }
  });
});
