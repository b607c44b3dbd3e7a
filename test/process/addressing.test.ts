/**
 * How our own commands find the masters: every form of address, and which of them is stronger. The unmodified Java client
 * is asked the same in test/interop/addressing.test.ts.
 * @module
 */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { CliHome } from "./cli_home.ts";
import { LocalCluster } from "./local_cluster.ts";

/** Nobody listens there, and a command gives up soon. */
const NOWHERE = "localhost:1";
const SOON = "-Dalluxio.user.rpc.retry.max.duration=300ms";
const MASTERS = "alluxio.master.rpc.addresses";
const WRITE_TYPE = "alluxio.user.file.writetype.default";

describe("addresses", () => {
  const home = new CliHome();
  let cluster: LocalCluster;
  let masters: readonly string[] = [];
  const joined = (separator: string) => masters.join(separator);

  before(async () => {
    cluster = await LocalCluster.start({
      masters: 3,
      workers: 1,
      definitions: ["alluxio.master.bind.host=::", `${WRITE_TYPE}=MUST_CACHE`],
    });
    masters = cluster.masters;
    const made = await cluster.cli("fs", "mkdir", "/d", "/d/here", "/p");
    assert.equal(made.exit, 0, made.stdout);
  });
  after(async () => {
    await cluster?.stop();
    home.remove();
  });

  async function finds(words: readonly string[], variables: Record<string, string> = {}) {
    const { exit, stdout, stderr } = await home.run(words, variables);
    assert.equal(exit, 0, `${words.join(" ")}: ${stdout}${stderr}`);
    assert.match(stdout, / \/d\/here\s/);
  }

  async function refuses(words: readonly string[], expected: RegExp) {
    const { exit, stdout } = await home.run(words);
    assert.equal(exit, 255, stdout);
    assert.match(stdout, expected);
    assert.equal(stdout.trim().split("\n").length, 1, "one line");
  }

  test("S0-38 the environment names the masters, and alluxio:/// and plain paths are theirs", async () => {
    home.site();
    for (const path of ["/d", "alluxio:///d"])
      await finds(["fs", "ls", path], { ALLUXIO_MASTER_RPC_ADDRESSES: joined(",") });
    await finds(["fs", "ls", "/d"], { ALLUXIO_JAVA_OPTS: `-Xmx1g -D${MASTERS}=${joined(",")}` });
    await finds(["fs", "ls", "/d"], { ALLUXIO_USER_JAVA_OPTS: `-D${MASTERS}="${joined(", ")}"` });
    const [host = "", port = ""] = (await cluster.leaderAddress()).split(":");
    const single = { ALLUXIO_MASTER_HOSTNAME: host, ALLUXIO_MASTER_RPC_PORT: port };
    await finds(["fs", "ls", "/d"], single);
    home.envFile(`export ALLUXIO_MASTER_RPC_ADDRESSES="${joined(",")}"`);
    await finds(["fs", "ls", "alluxio:///d"]);
    home.envFile();
  });

  test("S0-36 S0-37 S0-40 a site file names the masters, and their leader is found", async () => {
    home.site(`${MASTERS}=${joined(",")}`);
    await finds(["fs", "ls", "/d"]);
    home.site(`${MASTERS} = ${joined(", ")} # all of them`);
    await finds(["fs", "ls", "/d"]);
    home.site();
  });

  test("S0-22 a node with only the journal's addresses finds the masters at the RPC port", async () => {
    const port = (await cluster.leaderAddress()).split(":")[1] ?? "";
    home.site(
      "alluxio.master.embedded.journal.addresses=localhost:19200,127.0.0.1:19200",
      `alluxio.master.rpc.port=${port}`,
    );
    await finds(["fs", "ls", "alluxio:///d"]);
    home.site();
  });

  test("S0-41 -D stands right behind the verb, or among the arguments", async () => {
    const definition = `-D${MASTERS}=${joined(",")}`;
    await finds(["fs", definition, "ls", "/d"]);
    await finds(["fs", "ls", definition, "/d"]);
  });

  test("S0-42 S0-45 the authority of a path lists the masters with commas", async () => {
    await finds(["fs", "ls", `alluxio://${joined(",")}/d`]);
    await finds(["fs", "ls", `alluxio://${await cluster.leaderAddress()}/d`]);
  });

  test("S0-44 blanks after commas are no part of a host", async () => {
    await finds(["fs", "ls", `alluxio://${joined(", ")}/d`]);
    const [one = "", two = "", three = ""] = masters;
    await finds(["fs", "ls", `alluxio://${one}, ${two},${three}/d`]);
  });

  test("S0-46 the authority parts masters with ; or + too", async () => {
    await finds(["fs", "ls", `alluxio://${joined(";")}/d`]);
    await finds(["fs", "ls", `alluxio://${joined("+")}/d`]);
  });

  test("an IPv6 address stands in brackets, in a path and in a property", async () => {
    const ports = masters.map((address) => address.split(":")[1]);
    const addresses = ports.map((port) => `[::1]:${port}`).join(",");
    await finds(["fs", "ls", `alluxio://${addresses}/d`]);
    await finds(["fs", `-D${MASTERS}=${addresses}`, "ls", "/d"]);
  });

  test("S0-43 the authority beats -D, -D the environment, the environment the site file", async () => {
    const right = joined(",");
    const variables = (addresses: string) => ({ ALLUXIO_MASTER_RPC_ADDRESSES: addresses });
    home.site(`${MASTERS}=${NOWHERE}`);
    const wrong = `-D${MASTERS}=${NOWHERE}`;
    await finds(["fs", wrong, "ls", `alluxio://${right}/d`], variables(NOWHERE));
    await finds(["fs", `-D${MASTERS}=${right}`, "ls", "/d"], variables(NOWHERE));
    await finds(["fs", "ls", "/d"], variables(right));
    home.site(`${MASTERS}=${right}`);
    for (const words of [
      ["fs", SOON, "ls", `alluxio://${NOWHERE}/d`],
      ["fs", SOON, wrong, "ls", "/d"],
    ])
      assert.equal((await home.run(words)).exit, 255, "the stronger one counts though it is wrong");
    const beaten = await home.run(["fs", SOON, "ls", "/d"], variables(NOWHERE));
    assert.equal(beaten.exit, 255);
    home.site();
  });

  test("S0-43 the site file beats the default of a path, that the cluster's, that the built-in one", async () => {
    const at = `-D${MASTERS}=${joined(",")}`;
    const property = `${WRITE_TYPE}=THROUGH`;
    const added = await home.run(["fsadmin", at, "pathConf", "add", "--property", property, "/p"]);
    assert.equal(added.exit, 0, added.stdout);
    const local = join(home.dir, "bytes");
    writeFileSync(local, "bytes");
    const stateOf = async (path: string, ...definitions: readonly string[]) => {
      const copied = await home.run(["fs", at, ...definitions, "copyFromLocal", local, path]);
      assert.equal(copied.exit, 0, copied.stdout);
      const { stdout } = await home.run(["fs", at, "ls", path]);
      return /(NOT_PERSISTED|TO_BE_PERSISTED|PERSISTED) .* (\d+%)/.exec(stdout)?.slice(1).join(" ");
    };
    assert.equal(await stateOf("/d/cluster"), "NOT_PERSISTED 100%");
    assert.equal(await stateOf("/p/path"), "PERSISTED 0%");
    const alone = "-Dalluxio.user.conf.cluster.default.enabled=false";
    assert.notEqual(await stateOf("/d/built-in", alone), "NOT_PERSISTED 100%");
    home.site(`${WRITE_TYPE}=CACHE_THROUGH`);
    assert.equal(await stateOf("/p/site"), "PERSISTED 100%");
    assert.equal(await stateOf("/p/given", `-D${WRITE_TYPE}=MUST_CACHE`), "NOT_PERSISTED 100%");
    home.site();
  });

  test("S0-47 S0-48 S0-49 S0-50 a logical name stands for the masters that the configuration spells out", async () => {
    const lines = [
      "alluxio.master.nameservices.my-alluxio-cluster=master1, master2,master3",
      ...masters.map(
        (address, at) => `alluxio.master.rpc.address.my-alluxio-cluster.master${at + 1}=${address}`,
      ),
    ];
    home.site(...lines);
    await finds(["fs", "ls", "alluxio://ebj@my-alluxio-cluster/d"]);
    await refuses(
      ["fs", "ls", "alluxio://my-alluxio-cluster/d"],
      /"my-alluxio-cluster" is not understood \(my-alluxio-cluster is a logical name: write alluxio:\/\/ebj@my-alluxio-cluster\/\)/,
    );
    home.site(...lines.slice(0, -1));
    await refuses(
      ["fs", "ls", "alluxio://ebj@my-alluxio-cluster/d"],
      /alluxio\.master\.rpc\.address\.my-alluxio-cluster\.master3 is not set/,
    );
    home.site();
    await refuses(
      ["fs", "ls", "alluxio://ebj@other/d"],
      /alluxio\.master\.nameservices\.other is not set/,
    );
    const definitions = lines.map((line) => `-D${line}`);
    await finds(["fs", ...definitions, "ls", "alluxio://ebj@my-alluxio-cluster/d"]);
  });

  test("S0-51 ZooKeeper's forms of an authority ask ZooKeeper, and say what they asked", async () => {
    const soon = "-Dalluxio.zookeeper.connection.timeout=200ms";
    const named = [
      "-Dalluxio.master.zookeeper.nameservices.my-zk=one,two",
      "-Dalluxio.master.zookeeper.address.my-zk.one=127.0.0.1:1",
      "-Dalluxio.master.zookeeper.address.my-zk.two=127.0.0.1:2",
    ];
    for (const authority of ["zk@127.0.0.1:1,127.0.0.1:2", "zk@my-zk"])
      await refuses(
        ["fs", "ls", soon, ...named, `alluxio://${authority}/d`],
        /ZooKeeper \(127\.0\.0\.1:1,127\.0\.0\.1:2\) does not say where the masters are: .*ECONNREFUSED/,
      );
    await refuses(
      ["fs", "ls", "alluxio://zk@other/d"],
      /alluxio\.master\.zookeeper\.nameservices\.other is not set/,
    );
  });

  test("an authority that is none, and a scheme that is not ours, are refused in one line", async () => {
    await refuses(
      ["fs", "ls", "alluxio://m1/d"],
      /"m1" is not understood \(Write the port, as in m1:19998/,
    );
    await refuses(["fs", "ls", "alluxio://m1:70000/d"], /"m1:70000" is not understood/);
    await refuses(["fs", "ls", "hdfs://m1:9000/d"], /its scheme is hdfs/);
    await refuses(
      ["fs", `-D${MASTERS}=m1`, "ls", "/d"],
      /Bad value "m1" of alluxio\.master\.rpc\.addresses/,
    );
  });

  test("S1-28 S1-29 S1-30 alluxio-ft:// takes the configured masters, whatever host it names", async () => {
    home.site(`${MASTERS}=${joined(",")}`);
    for (const uri of ["alluxio-ft:///d", "alluxio-ft://anything/d", "alluxio-ft://m9:1/d"])
      await finds(["fs", "ls", uri]);
    home.site();
  });
});
