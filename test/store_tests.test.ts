import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { isRockpoolError } from "../src/common/errors.ts";
import { loadConfiguration } from "../src/conf/load.ts";
import { storeTests } from "../src/store_tests.ts";

test("checks() and measure() reach HDFS as the configuration says", async () => {
  const home = mkdtempSync(join(tmpdir(), "rockpool-store-tests-"));
  const asked: string[] = [];
  const nameNode = createServer((request, response) => {
    asked.push(request.url ?? "");
    response.writeHead(403, { "content-type": "application/json" });
    response.end('{"RemoteException":{"exception":"AccessControlException","message":"no"}}');
  });
  await new Promise<void>((resolve) => nameNode.listen(0, "127.0.0.1", resolve));
  try {
    const { port } = nameNode.address() as AddressInfo; // it listens on TCP
    const siteFile = join(home, "hdfs-site.xml");
    const property = (name: string, value: string) =>
      `<property><name>${name}</name><value>${value}</value></property>`;
    writeFileSync(
      siteFile,
      `<configuration>${property("dfs.ha.namenodes.pond", "n1")}${property(
        "dfs.namenode.http-address.pond.n1",
        `127.0.0.1:${port}`,
      )}</configuration>`,
    );
    const { configuration } = loadConfiguration({
      kind: "master",
      definitions: [
        `alluxio.underfs.hdfs.configuration=${siteFile}`,
        "rockpool.underfs.hdfs.user=frog",
      ],
      variables: {},
      home,
    });
    const isRefused = (error: unknown) => isRockpoolError(error, "PERMISSION_DENIED");
    const uri = "hdfs://pond/x";
    await assert.rejects(storeTests.checks(uri, configuration), isRefused);
    await assert.rejects(
      storeTests.measure(uri, { bytesEach: 1, threads: 1, configuration }),
      isRefused,
    );
    assert.equal(asked.length, 2);
    for (const url of asked) assert.match(url, /^\/webhdfs\/v1\/x\/.*user\.name=frog/);
  } finally {
    nameNode.closeAllConnections();
    nameNode.close();
    rmSync(home, { recursive: true, force: true });
  }
});
