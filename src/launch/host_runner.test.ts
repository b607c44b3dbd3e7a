import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { failureLines, inParallel, runOnHosts, summaryLine } from "./group.ts";
import { HostRunner, isThisHost } from "./host_runner.ts";
import { parseHost } from "./hosts_file.ts";

const folder = mkdtempSync(join(tmpdir(), "rockpool-runner-"));
after(() => rmSync(folder, { recursive: true }));

/** A command of ours that answers with its words, or fails when told so. */
const COMMAND = join(folder, "alluxio.cjs");
writeFileSync(
  COMMAND,
  `const words = process.argv.slice(2);
if (words[0] === "hang") setInterval(() => {}, 1000);
else {
  console.log([process.env.ALLUXIO_HOME, ...words].join(" "));
  if (words[0] === "fail") { console.error("no luck"); process.exitCode = 255; }
}
`,
);

const runner = new HostRunner({
  command: COMMAND,
  variables: { ALLUXIO_HOME: "/home/of/it" },
  sshWords: [],
  signal: new AbortController().signal,
});

test("isThisHost() knows this machine by name and address, and tunnels and other users apart", async () => {
  const isHere = (text: string) => isThisHost(parseHost(text, "x"));
  for (const text of [
    "localhost",
    "127.0.0.1",
    "::1",
    hostname(),
    `${userInfo().username}@localhost`,
  ])
    assert.equal(await isHere(text), true, text);
  for (const text of [
    "localhost:2222",
    "somebody-else@localhost",
    "198.51.100.7",
    "no-such-host.invalid",
  ])
    assert.equal(await isHere(text), false, text);
});

test("run() needs no ssh for this host, and gives code and words", async () => {
  const result = await runner.run("localhost", ["a b", "$c"]);
  assert.deepEqual(result, {
    exitCode: 0,
    stdout: "/home/of/it a b $c\n",
    stderr: "",
    trouble: null,
  });
  const failed = await runner.run("localhost", ["fail"]);
  assert.deepEqual([failed.exitCode, failed.stderr, failed.trouble], [255, "no luck\n", null]);
});

test("run() ends when its time is over or it is interrupted", async () => {
  const late = await runner.run("localhost", ["hang"], { timeoutMs: 50 });
  assert.deepEqual([late.exitCode, /^no end after/.test(late.trouble ?? "")], [255, true]);
  const aborter = new AbortController();
  const running = runner.run("localhost", ["hang"], { signal: aborter.signal });
  aborter.abort();
  assert.equal((await running).trouble, "interrupted");
});

test("run() says that there is no ssh here", async () => {
  const path = process.env["PATH"];
  process.env["PATH"] = folder;
  try {
    const { trouble, exitCode } = await runner.run("198.51.100.7", ["x"]);
    assert.equal(exitCode, 255);
    assert.match(trouble ?? "", /no ssh program here/);
  } finally {
    process.env["PATH"] = path;
  }
});

test("run() takes an exit code 255 of ours for ours and of ssh for ssh's", async () => {
  const path = process.env["PATH"];
  const fake = join(folder, "ssh");
  const script =
    '#!/bin/sh\nfor last; do :; done\n[ "$FAIL" = 1 ] && { echo "h: Permission denied (publickey)." >&2; exit 255; }\nexec /bin/sh -c "$last"\n';
  writeFileSync(fake, script);
  chmodSync(fake, 0o755);
  const command = join(folder, "alluxio");
  writeFileSync(command, '#!/bin/sh\necho "said $1"\nexit 255\n');
  chmodSync(command, 0o755);
  const options = { command, variables: {}, sshWords: [], signal: new AbortController().signal };
  process.env["PATH"] = `${folder}:${path}`;
  try {
    const ours = await new HostRunner(options).run("198.51.100.7", ["x"]);
    assert.deepEqual([ours.exitCode, ours.stdout, ours.trouble], [255, "said x\n", null]);
    process.env["FAIL"] = "1";
    const theirs = await new HostRunner(options).run("198.51.100.7", ["x"]);
    assert.match(theirs.trouble ?? "", /does not let this user in/);
  } finally {
    process.env["PATH"] = path;
    process.env["FAIL"] = undefined;
    delete process.env["FAIL"];
  }
});

test("S0-28 runOnHosts() prints one line a host, and failureLines() who failed and why", async () => {
  const lines: string[] = [];
  const hosts = ["localhost", "127.0.0.1"].map((text) => parseHost(text, "x"));
  const say = async (line: string) => void lines.push(line);
  const good = await runOnHosts({ runner, hosts, words: ["go"], say });
  assert.deepEqual([...lines].sort(), ["127.0.0.1: /home/of/it go", "localhost: /home/of/it go"]);
  assert.deepEqual(failureLines(good), []);
  const bad = await runOnHosts({ runner, hosts, words: ["fail"], say });
  assert.deepEqual(failureLines([...good.slice(0, 1), ...bad.slice(1)]).slice(0, 2), [
    "Failed on 1 of 2 hosts: 127.0.0.1",
    "  127.0.0.1:",
  ]);
});

test("summaryLine() finds the verdict, and says why a host was not reached", () => {
  const result = { exitCode: 255, stdout: "", stderr: "", trouble: null };
  assert.equal(summaryLine({ ...result, trouble: "no route" }), "[ FAILED ] not done: no route");
  assert.equal(
    summaryLine({ ...result, stdout: "x\n[ FAILED ] it ended\nlog\n" }),
    "[ FAILED ] it ended",
  );
  assert.equal(summaryLine({ ...result, stderr: "a\nb\n" }), "[ FAILED ] b");
  assert.equal(summaryLine({ ...result, exitCode: 3 }), "[ FAILED ] ended with exit code 3");
  assert.equal(
    summaryLine({ ...result, exitCode: 0, stdout: "Found 1\nSuccessfully\n" }),
    "Successfully",
  );
});

test("inParallel() keeps the order and never has more than its limit under way", async () => {
  let underWay = 0;
  let most = 0;
  const answers = await inParallel([5, 1, 4, 2, 3], 2, async (item) => {
    most = Math.max(most, ++underWay);
    await new Promise(setImmediate);
    underWay--;
    return item * 10;
  });
  assert.deepEqual(answers, [50, 10, 40, 20, 30]);
  assert.equal(most, 2);
});
