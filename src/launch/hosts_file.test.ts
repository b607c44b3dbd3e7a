import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isRockpoolError } from "../common/errors.ts";
import { parseHost, parseHosts } from "./hosts_file.ts";

const plain = (host: string) => ({ host, user: null, sshPort: null });

test("S0-27 hosts files: one host a line, comments, blanks, users, ports, IPv6", () => {
  const text = [
    "# masters of the cluster",
    "  node1  ",
    "",
    "10.0.0.7\r",
    "deploy@node2:2222 # the other rack",
    "[fd00::3]:2022",
    "fd00::4",
    "node1",
    "node-3.example.com.",
  ].join("\n");
  assert.deepEqual(parseHosts(text, "conf/masters"), [
    plain("node1"),
    plain("10.0.0.7"),
    { host: "node2", user: "deploy", sshPort: 2222 },
    { host: "fd00::3", user: null, sshPort: 2022 },
    plain("fd00::4"),
    plain("node-3.example.com."),
  ]);
  assert.deepEqual(parseHosts("# nobody\n\n", "x"), []);
  const tunnels = parseHosts("localhost:2201\nlocalhost:2202\nlocalhost:2201", "x");
  assert.deepEqual(
    tunnels.map(({ sshPort }) => sshPort),
    [2201, 2202],
  );
});

test("parseHosts() names file, line and right form of what is no host", () => {
  const refused = (line: string, pattern: RegExp) =>
    assert.throws(
      () => parseHosts(`ok\n${line}`, "conf/workers"),
      (error) =>
        isRockpoolError(error, "INVALID_ARGUMENT") &&
        error.message.startsWith("conf/workers:2: ") &&
        pattern.test(error.message) &&
        /one host a line/.test(error.remedy),
    );
  refused("a, b", /one line holds one host/);
  refused("a b", /one line holds one host/);
  refused("node1:ssh", /"ssh" is no port/);
  refused("node1:0", /"0" is no port/);
  refused("node1:65536", /"65536" is no port/);
  refused("-oProxyCommand=touch", /is no name or address/);
  refused("root;@node1", /is no user/);
  refused("@node1", /"" is no user/);
  refused("$(reboot)", /is no name/);
});

test("parseHost() lets nothing through that ssh or a shell could take for more than a host", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary-ascii", maxLength: 20 }), (text) => {
      try {
        const { host, user } = parseHost(text, "x");
        for (const part of [host, user ?? "u"]) {
          assert.ok(!part.startsWith("-"));
          assert.doesNotMatch(part, /[\s;&|<>`'"\\()]|\$./);
        }
      } catch (error) {
        assert.ok(isRockpoolError(error, "INVALID_ARGUMENT"));
      }
    }),
  );
});
