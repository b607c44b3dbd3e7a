/**
 * Keys of ZooKeeper: where it is, where the masters stand in it, how long to be patient. `alluxio.zookeeper.enabled` is among
 * the masters' keys.
 * @module
 */
import { integer, keySpec, POSITIVE_DURATION, unsetKeySpec, type ValueType } from "./key_spec.ts";

const SERVER = String.raw`(\[[0-9a-f:.%]+\]|[^\s:,;/@[\]]+)(:\d{1,5})?`;
const CONNECT = new RegExp(`^${SERVER}(\\s*[,;]\\s*${SERVER})*(/\\S+)?$`, "i");

/** With a node behind it that all paths begin at, if it is so. */
const CONNECT_STRING: ValueType<string> = {
  name: "STRING",
  expected: "addresses separated by commas, such as zk1:2181,zk2:2181,zk3:2181",
  parse: (text) => (CONNECT.test(text.trim()) ? text.trim() : null),
};

const NODE_PATH: ValueType<string> = {
  name: "STRING",
  expected: "the path of a ZooKeeper node, such as /alluxio/leader",
  parse: (text) => {
    const path = text.replace(/\/+$/, "");
    return /^(\/[^/\s]+)+$/.test(path) && !/\/\.{1,2}(\/|$)/.test(path) ? path : null;
  },
};

export const ZooKeeperKeys = {
  address: unsetKeySpec("alluxio.zookeeper.address", CONNECT_STRING, {
    scope: "ALL",
    doc: "Where ZooKeeper is: host:port, several with commas",
  }),
  electionPath: keySpec("alluxio.zookeeper.election.path", NODE_PATH, "/alluxio/election", {
    scope: "ALL",
    doc: "The node below which masters stand for election",
  }),
  leaderPath: keySpec("alluxio.zookeeper.leader.path", NODE_PATH, "/alluxio/leader", {
    scope: "ALL",
    doc: "The node below which the leader's address stands",
  }),
  sessionTimeout: keySpec("alluxio.zookeeper.session.timeout", POSITIVE_DURATION, "60s", {
    scope: "MASTER",
    doc: "After this long without a word of the leader another one is chosen; the servers have bounds of their own",
  }),
  connectionTimeout: keySpec("alluxio.zookeeper.connection.timeout", POSITIVE_DURATION, "15s", {
    scope: "ALL",
    doc: "How long a start, or a search for the masters, waits for an answer of ZooKeeper",
  }),
  inquiryRetry: keySpec(
    "alluxio.zookeeper.leader.inquiry.retry",
    integer({ min: 1, max: 1_000_000 }),
    "10",
    {
      scope: "ALL",
      doc: "How often ZooKeeper is asked, a second apart, while no master stands there",
    },
  ),
} as const;
