import assert from "node:assert/strict";
import { test } from "node:test";
import { editsFor, inconsistencies, type NodeConfiguration } from "./consistency.ts";

type Given = Readonly<Record<string, readonly [value: string | null, source: string]>>;

function node(kind: NodeConfiguration["kind"], address: string, given: Given): NodeConfiguration {
  const properties = Object.entries({
    "alluxio.conf.dir": [`/opt/${address.split(":")[0]}/conf`, "DEFAULT"],
    ...given,
  } as Given);
  return {
    kind,
    address,
    properties: new Map(properties.map(([key, [value, source]]) => [key, { value, source }])),
  };
}

const UMASK = "alluxio.security.authorization.permission.umask";
const TIMEOUT = "alluxio.master.worker.timeout";
const site = (line: number) => `SITE_PROPERTY (/c/alluxio-site.properties:${line})`;

test("S0-66.1 masters that differ where all must agree are an error, with the edit for those who differ from most", () => {
  const nodes = [
    node("master", "m1:19998", { [UMASK]: ["022", "DEFAULT"] }),
    node("master", "m2:19998", { [UMASK]: ["077", site(7)] }),
    node("master", "m3:19998", { [UMASK]: ["022", site(9)] }),
    node("worker", "w1:29999", { [UMASK]: ["027", site(1)] }),
  ];
  const [found, ...more] = inconsistencies(nodes);
  assert.deepEqual(more, []);
  assert.ok(found?.isError === true);
  assert.deepEqual(found.values, [
    { value: "022", nodes: ["m1:19998", "m3:19998"] },
    { value: "077", nodes: ["m2:19998"] },
  ]);
  assert.deepEqual(editsFor(found, nodes), [
    {
      node: "m2:19998",
      host: "m2",
      text: `in /c/alluxio-site.properties, line 7: change ${UMASK}=077 to ${UMASK}=022`,
    },
  ]);
});

test("a property that is missing somewhere is to be added there; one from the environment is named so", () => {
  const nodes = [
    node("master", "m1:19998", { [TIMEOUT]: ["1min", site(3)] }),
    node("master", "m2:19998", { [TIMEOUT]: ["5min", "DEFAULT"] }),
    node("master", "m3:19998", {
      [TIMEOUT]: ["2min", "ENVIRONMENT (environment variable ALLUXIO_MASTER_WORKER_TIMEOUT)"],
    }),
  ];
  const [found] = inconsistencies(nodes);
  assert.ok(found !== undefined && !found.isError);
  // Each has its own: the leader's, which comes first, is as good as any.
  assert.deepEqual(
    editsFor(found, nodes).map(({ text }) => text),
    [
      `add the line ${TIMEOUT}=1min to /opt/m2/conf/alluxio-site.properties`,
      `in environment variable ALLUXIO_MASTER_WORKER_TIMEOUT: change ${TIMEOUT}=2min to ${TIMEOUT}=1min`,
    ],
  );
});

test("what is about one host is not compared, nor what a process does not read", () => {
  const nodes = [
    node("master", "m1:19998", {
      "alluxio.master.hostname": ["m1", site(1)],
      "alluxio.master.rpc.port": ["19998", site(2)],
      "alluxio.master.journal.folder": ["/a", site(3)],
      "alluxio.worker.block.heartbeat.interval": ["2s", site(4)],
      "alluxio.user.file.writetype.default": ["THROUGH", site(5)],
    }),
    node("master", "m2:19998", {
      "alluxio.master.hostname": ["m2", site(1)],
      "alluxio.master.rpc.port": ["29998", site(2)],
      "alluxio.master.journal.folder": ["/b", site(3)],
    }),
    node("worker", "w1:29999", {
      "alluxio.worker.ramdisk.size": ["1GB", site(1)],
      "alluxio.worker.tieredstore.level0.dirs.path": ["/x", site(2)],
      "alluxio.worker.block.heartbeat.interval": ["1s", site(4)],
    }),
    node("worker", "w2:29999", { "alluxio.worker.ramdisk.size": ["2GB", site(1)] }),
  ];
  assert.deepEqual(
    inconsistencies(nodes).map(({ key, isError }) => [key, isError]),
    // What clients are told counts; the worker's pace is 1 s by default, as w1 says.
    [["alluxio.user.file.writetype.default", false]],
  );
  assert.deepEqual(inconsistencies(nodes.slice(0, 1)), []);
});

test("S1-17 who asks another ZooKeeper, or looks at other nodes in it, is an error", () => {
  for (const [key, one, other] of [
    ["alluxio.zookeeper.enabled", "true", "false"],
    ["alluxio.zookeeper.address", "z1:2181", "z2:2181"],
    ["alluxio.zookeeper.election.path", "/alluxio/election", "/election"],
    ["alluxio.zookeeper.leader.path", "/alluxio/leader", "/leader"],
  ] as const) {
    const [found] = inconsistencies([
      node("master", "m1:19998", { [key]: [one, site(1)] }),
      node("master", "m2:19998", { [key]: [one, site(1)] }),
      node("worker", "w1:29999", { [key]: [other, site(1)] }),
    ]);
    assert.equal(found?.key, key);
    assert.ok(found.isError, key);
  }
});
