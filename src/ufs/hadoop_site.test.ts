import assert from "node:assert/strict";
import { test } from "node:test";
import { nameNodesOf, parseHadoopSite } from "./hadoop_site.ts";

const site = (...pairs: readonly (readonly [string, string])[]) =>
  parseHadoopSite(
    `<?xml version="1.0"?><!-- <property><name>no</name><value>1</value></property> --><configuration>${pairs
      .map(
        ([name, value]) =>
          `<property>\n <name> ${name} </name><value>${value}</value><final>true</final></property>`,
      )
      .join("\n")}</configuration>`,
  );

test("parseHadoopSite() reads names and values, not what is commented out", () => {
  const found = site(["a.b", " x &amp; y "], ["empty", ""]);
  assert.deepEqual(
    [...found],
    [
      ["a.b", "x & y"],
      ["empty", ""],
    ],
  );
});

test("nameNodesOf() finds the HTTP servers of one name node", () => {
  assert.deepEqual(nameNodesOf("hdfs://nn:8020/x", site()), ["nn:9870"]);
  assert.deepEqual(nameNodesOf("hdfs://nn/x", site()), ["nn:9870"]);
  assert.deepEqual(nameNodesOf("hdfs://a:8020,b:8020/", site()), ["a:9870", "b:9870"]);
  assert.deepEqual(nameNodesOf("webhdfs://nn:50070/x", site()), ["nn:50070"]);
  const known = site(
    ["dfs.namenode.rpc-address", "nn:9000"],
    ["dfs.namenode.http-address", "0.0.0.0:5000"],
    ["fs.defaultFS", "hdfs://nn:9000"],
  );
  assert.deepEqual(nameNodesOf("hdfs://nn:9000/x", known), ["nn:5000"]);
  assert.deepEqual(nameNodesOf("hdfs:///x", known), ["nn:5000"]);
  assert.deepEqual(nameNodesOf("hdfs://other:9000/x", known), ["other:9870"]);
});

test("nameNodesOf() finds those of a name service", () => {
  const service = site(
    ["dfs.ha.namenodes.ha", "nn1, nn2"],
    ["dfs.namenode.rpc-address.ha.nn1", "h1:8020"],
    ["dfs.namenode.http-address.ha.nn1", "h1:9871"],
    ["dfs.namenode.rpc-address.ha.nn2", "h2:8020"],
  );
  assert.deepEqual(nameNodesOf("hdfs://ha/x", service), ["h1:9871", "h2:9870"]);
});

test("nameNodesOf() says what is missing", () => {
  const named = site(["dfs.ha.namenodes.ha", "nn1"]);
  assert.throws(() => nameNodesOf("hdfs://ha/", named), /"nn1" has no address/);
  assert.throws(() => nameNodesOf("hdfs:///x", site()), /no site file has fs\.defaultFS/);
  const secure = site(["dfs.http.policy", "HTTPS_ONLY"]);
  assert.throws(() => nameNodesOf("hdfs://h:1/", secure), /HTTPS only/);
});
