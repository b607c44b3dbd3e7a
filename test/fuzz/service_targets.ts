/**
 * Decoders of what other services and their files say: ZooKeeper's packets and addresses, Hadoop's site files, lists of hosts.
 * @module
 */
import { parseHosts } from "../../src/launch/hosts_file.ts";
import { nameNodesOf, parseHadoopSite } from "../../src/ufs/hadoop_site.ts";
import { parseConnectString } from "../../src/zookeeper/connect_string.ts";
import { JuteReader, JuteWriter } from "../../src/zookeeper/jute.ts";
import { readConnect, readMulti, readStat, readWatch } from "../../src/zookeeper/protocol.ts";
import type { FuzzTarget } from "./fuzzer.ts";
import { mustEqual } from "./round_trip.ts";

const utf8 = new TextEncoder();
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("utf8");

function packetSeeds(): Uint8Array[] {
  const stat = new JuteWriter();
  for (let i = 0; i < 4; i++) stat.long(BigInt(i));
  for (let i = 0; i < 3; i++) stat.int(i);
  stat.long(7n);
  stat.int(5);
  stat.int(0);
  stat.long(9n);
  const multi = new JuteWriter();
  multi.int(-1);
  multi.bool(false);
  multi.int(-101);
  multi.int(-101);
  multi.int(-1);
  multi.bool(true);
  multi.int(-1);
  const watch = new JuteWriter();
  watch.int(3);
  watch.int(3);
  watch.text("/alluxio/leader");
  const connect = new JuteWriter();
  connect.int(0);
  connect.int(4000);
  connect.long(1n);
  connect.buffer(new Uint8Array(16));
  return [stat, multi, watch, connect].map((writer) => writer.packet().subarray(4));
}

const packets: FuzzTarget = {
  name: "zookeeper-packets",
  seeds: () =>
    packetSeeds().flatMap((bytes) => [0, 1, 2, 3].map((kind) => Uint8Array.of(kind, ...bytes))),
  run(bytes) {
    const reader = new JuteReader(bytes.subarray(1));
    switch ((bytes[0] ?? 0) % 4) {
      case 0:
        return `stat ${typeof readStat(reader).version}`;
      case 1:
        return `multi ${readMulti(reader, [{ kind: "check", path: "/x", version: 0 }], (path) => path).length}`;
      case 2:
        return `watch ${readWatch(reader).kind}`;
      default:
        return `connect ${Math.sign(readConnect(bytes.subarray(1)).timeoutMs)}`;
    }
  },
};

const connectStrings: FuzzTarget = {
  name: "zookeeper-connect",
  seeds: () =>
    ["zk1:2181,zk2:2181/a/b", "[::1]:2181", "h", "h;i:1/"].map((one) => utf8.encode(one)),
  run(bytes) {
    const { servers, chroot } = parseConnectString(text(bytes));
    const again = servers.map(({ host, port }) =>
      host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`,
    );
    mustEqual(
      parseConnectString(`${again.join()}${chroot}`),
      { servers, chroot },
      "a connect string",
    );
    return `${Math.min(4, servers.length)} ${chroot === ""}`;
  },
};

const sites: FuzzTarget = {
  name: "hadoop-site",
  seeds: () =>
    [
      "<configuration><property><name>dfs.ha.namenodes.ha</name><value>a,b</value></property></configuration>",
      "<property><name>dfs.namenode.http-address.ha.a</name><value>h:1</value></property><!-- x -->",
    ].map((one) => utf8.encode(one)),
  run(bytes) {
    const properties = parseHadoopSite(text(bytes));
    return `${Math.min(3, properties.size)} ${nameNodesOf("hdfs://ha/x", properties).length}`;
  },
};

const hosts: FuzzTarget = {
  name: "hosts-file",
  seeds: () =>
    ["m1\n# c\nuser@m2:2222\n", "[fd00::3]:2222\n10.0.0.7 # x\n", "a b\n"].map((one) =>
      utf8.encode(one),
    ),
  run: (bytes) => `${Math.min(4, parseHosts(text(bytes), "conf/masters").length)} hosts`,
};

export const SERVICE_TARGETS: readonly FuzzTarget[] = [packets, connectStrings, sites, hosts];
