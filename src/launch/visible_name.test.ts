import assert from "node:assert/strict";
import { test } from "node:test";
import { createConfiguration } from "../conf/configuration.ts";
import { nameWarnings } from "./visible_name.ts";

const configure = (...definitions: readonly string[]) =>
  createConfiguration([
    {
      source: "SITE_PROPERTY",
      assignments: definitions.map((text) => {
        const [name = "", value = ""] = text.split("=");
        return { name, value, origin: "site:1" };
      }),
    },
  ]);

test("S1-16 a loopback name is warned of as soon as the cluster has another host", () => {
  const addresses = "alluxio.master.embedded.journal.addresses=m1:19200,m2:19200";
  const bad = nameWarnings("master", configure(addresses, "alluxio.master.hostname=localhost"));
  assert.equal(bad.length, 1);
  assert.match(
    bad[0] ?? "",
    /^alluxio\.master\.hostname=localhost \(site:1\) .* and m1 is another host/,
  );
  assert.equal(
    nameWarnings("worker", configure(addresses, "alluxio.worker.hostname=127.0.0.1")).length,
    1,
  );
  const zookeeper = ["alluxio.zookeeper.enabled=true", "alluxio.zookeeper.address=z1:2181"];
  assert.match(
    nameWarnings("master", configure(...zookeeper, "alluxio.master.hostname=localhost"))[0] ?? "",
    /and z1 is another host/,
  );
  const alone = "alluxio.master.embedded.journal.addresses=localhost:19200,localhost:19201";
  for (const good of [
    configure(addresses, "alluxio.master.hostname=m1"),
    configure(addresses),
    configure(alone, "alluxio.master.hostname=localhost"),
    configure("alluxio.master.hostname=localhost"),
  ])
    assert.deepEqual(nameWarnings("master", good), []);
});
