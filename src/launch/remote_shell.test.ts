import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { afterArrival, quote, remoteScript, sshTarget, sshTrouble } from "./remote_shell.ts";

const folder = mkdtempSync(join(tmpdir(), "rockpool-remote-"));
after(() => rmSync(folder, { recursive: true }));

/** As sshd does it: the user's login shell gets the whole command as one word. */
function loggedIn(script: string, env: NodeJS.ProcessEnv = process.env) {
  return spawnSync("/bin/sh", ["-c", script], { encoding: "utf8", env });
}

test("quote() brings any word through a shell", () => {
  const word = fc
    .string({ unit: "grapheme", maxLength: 30 })
    .filter((text) => !text.includes("\0"));
  fc.assert(
    fc.property(fc.array(word, { minLength: 1, maxLength: 4 }), (words) => {
      const { stdout } = loggedIn(`printf '%s\\0' ${words.map(quote).join(" ")}`);
      assert.deepEqual(stdout.split("\0").slice(0, -1), words);
    }),
    { numRuns: 30 },
  );
});

test("remoteScript() gives words and variables to the command, whatever is in them", () => {
  const command = join(folder, "it's here");
  writeFileSync(command, '#!/bin/sh\nprintf "%s|" "$ALLUXIO_HOME" "$@"\nexit 7\n');
  chmodSync(command, 0o755);
  const words = ["a b", "it's", '$HOME "x"', "-Dk=v; reboot"];
  const script = remoteScript({
    command,
    words,
    variables: { ALLUXIO_HOME: "/srv/a'b $x" },
    // A folder is no script either.
    moreFolders: ["/opt/$(echo run >&2)`echo run >&2`/bin", join(process.execPath, "..")],
  });
  const { status, stdout, stderr } = loggedIn(`echo Welcome to this host; ${script}`);
  assert.deepEqual([status, stderr], [7, ""]);
  assert.equal(afterArrival(stdout), `/srv/a'b $x|${words.join("|")}|`);
});

test("remoteScript() says which program is missing there", () => {
  const script = (command: string, moreFolders: readonly string[] = []) =>
    remoteScript({ command, words: [], variables: {}, moreFolders });
  const missing = loggedIn(script("/nowhere/bin/alluxio"));
  assert.equal(missing.status, 127);
  assert.equal(missing.stderr, "There is no program /nowhere/bin/alluxio\n");
  const withoutNode = loggedIn(script("/bin/true"), { PATH: "/nowhere" });
  assert.equal(withoutNode.status, 127);
  assert.match(withoutNode.stderr, /Node\.js \(node\) is not on the PATH of a command run by ssh/);
});

test("S0-12 what ssh complains of is one line with what to do", () => {
  assert.equal(afterArrival("Permission denied"), null);
  const cases: readonly (readonly [string, RegExp])[] = [
    [
      "root@h: Permission denied (publickey).",
      /without a password \(put .*authorized_keys.*ssh-copy-id h/,
    ],
    ["Host key verification failed.", /not known here \(connect once.*ssh-keyscan h/],
    [
      "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
      /ssh-keygen -R h/,
    ],
    [
      "ssh: Could not resolve hostname h: Name or service not known",
      /its name is not known \(correct/,
    ],
    ["ssh: connect to host h port 22: Connection refused", /start sshd there/],
    ["ssh: connect to host h port 22: Connection timed out", /does not answer/],
    ["Timeout, server h not responding.", /connection was lost/],
    ["kex_exchange_identification: banner line contains invalid characters", /^kex_exchange/],
    ["", /^ssh ended without a word$/],
  ];
  for (const [stderr, expected] of cases) {
    const said = sshTrouble("h", stderr);
    assert.match(said, expected);
    assert.doesNotMatch(said, /\n/);
  }
});

test("sshTarget() puts user and port where ssh wants them", () => {
  assert.deepEqual(sshTarget({ host: "h", user: null, sshPort: null }), ["h"]);
  assert.deepEqual(sshTarget({ host: "h", user: "u", sshPort: 2222 }), ["-p", "2222", "u@h"]);
});
