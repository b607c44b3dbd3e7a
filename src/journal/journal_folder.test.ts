import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { EXIT, isRockpoolError } from "../common/errors.ts";
import { openFallbackKernels } from "../kernels/fallback.ts";
import { nodeFileSystem } from "./file_system.ts";
import { until } from "./journal_fixture.ts";
import { lockFolder, PeerPins, readIdentityFile, settleIdentity } from "./journal_folder.ts";
import { formatJournal, isFormatted } from "./journal_format.ts";
import { exitCodeOf } from "./journal_protocol.ts";
import { groupIdOf, joinerIdOf, memberIdOf } from "./member_ids.ts";

const kernels = openFallbackKernels({ arenaBytes: 64 * 1024 });
const crc32c = (bytes: Uint8Array, seed?: number) => kernels.crc32c(bytes, seed);
const disk = nodeFileSystem();
const root = mkdtempSync(join(tmpdir(), "rockpool-folder-"));
after(() => rmSync(root, { recursive: true, force: true }));

const options = {
  address: "b:1",
  addresses: ["b:1", "a:1"],
  crc32c,
  segmentBytes: 64 * 1024,
  nowMs: 5,
};

function folderOf(name: string): string {
  return join(mkdtempSync(join(root, "case-")), name);
}

test("formatJournal() makes an empty journal, and each time one of another incarnation", async () => {
  const folder = folderOf("new");
  assert.equal(isFormatted(folder), false);
  await formatJournal(folder, options);
  const first = readIdentityFile(disk, folder, crc32c);
  assert.equal(first.standing, "undecided");
  assert.equal(first.memberId, memberIdOf("b:1"));
  assert.equal(first.groupId, groupIdOf(["a:1", "b:1"]));
  assert.ok(first.memberId >= 0n && first.memberId < 1n << 63n);
  assert.deepEqual(readdirSync(folder).sort(), [
    "_format_5",
    "journal.json",
    "wal-0000000000000001",
  ]);
  await formatJournal(folder, options);
  assert.notEqual(readIdentityFile(disk, folder, crc32c).incarnation, first.incarnation);
});

test("formatJournal() leaves alone what is no journal, and what is open", async () => {
  const folder = folderOf("shared");
  await formatJournal(folder, options);
  writeFileSync(join(folder, "thesis.txt"), "years of work");
  const refused = (error: unknown) => isRockpoolError(error, "FAILED_PRECONDITION");
  await assert.rejects(formatJournal(folder, options), refused);
  rmSync(join(folder, "thesis.txt"));
  const unlock = lockFolder(disk, folder, () => {});
  await assert.rejects(formatJournal(folder, options), (error) =>
    isRockpoolError(error, "UNAVAILABLE"),
  );
  unlock();
  await formatJournal(folder, options);
  await assert.rejects(formatJournal(folder, { ...options, address: "c:1" }), refused);
});

test("readIdentityFile() refuses a file with any character changed", async () => {
  const folder = folderOf("damaged");
  await formatJournal(folder, options);
  const path = join(folder, "journal.json");
  const content = readFileSync(path, "utf8");
  const identity = readIdentityFile(disk, folder, crc32c);
  for (let at = 0; at < content.length; at++) {
    if (/\s/.test(content[at] ?? "")) continue;
    const other = content[at] === "7" ? "8" : "7";
    writeFileSync(path, content.slice(0, at) + other + content.slice(at + 1));
    assert.throws(
      () => readIdentityFile(disk, folder, crc32c),
      // Of another version of the format nothing more is known.
      (error) =>
        isRockpoolError(
          error,
          /"formatVersion": $/.test(content.slice(0, at)) ? "FAILED_PRECONDITION" : "DATA_LOSS",
        ),
      `position ${at}`,
    );
  }
  writeFileSync(path, content);
  assert.deepEqual(readIdentityFile(disk, folder, crc32c), identity);
});

test("lockFolder() takes over the lock of a dead process only", async () => {
  const folder = folderOf("locked");
  await formatJournal(folder, options);
  const taken: number[] = [];
  const unlock = lockFolder(disk, folder, (pid) => taken.push(pid));
  assert.throws(
    () => lockFolder(disk, folder, () => {}),
    (error) =>
      isRockpoolError(error, "UNAVAILABLE") &&
      error.message.includes(String(process.pid)) &&
      exitCodeOf(error) === EXIT.cannotStart,
  );
  unlock();
  writeFileSync(join(folder, "lock"), `${process.pid} 1`);
  lockFolder(disk, folder, (pid) => taken.push(pid))();
  writeFileSync(join(folder, "lock"), "");
  lockFolder(disk, folder, (pid) => taken.push(pid))();
  assert.deepEqual(taken, [process.pid, 0], "a reused pid and an empty lock are stale");
});

test("lockFolder() takes over the lock of a process that ended and was not waited for", async (t) => {
  if (process.platform !== "linux") return t.skip("only /proc tells of them");
  const folder = folderOf("zombie");
  await formatJournal(folder, options);
  // The shell turns into a program that never asks how its child ended; before that it would, so the child waits for it.
  const child = "until grep -q sleep /proc/$PPID/comm; do :; done";
  const parent = spawn("sh", ["-c", `sh -c '${child}' & echo $!; exec sleep 1000`], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  t.after(() => parent.kill("SIGKILL"));
  const [line] = (await once(parent.stdout, "data")) as [Buffer];
  const pid = Number(line.toString());
  const fields = () => readFileSync(`/proc/${pid}/stat`, "utf8").split(" ");
  await until("the process has ended", () => (fields()[2] === "Z" ? true : undefined));
  writeFileSync(join(folder, "lock"), `${pid} ${fields()[21]}`);
  const taken: number[] = [];
  lockFolder(disk, folder, (each) => taken.push(each))();
  assert.deepEqual(taken, [pid]);
});

test("PeerPins keeps the first incarnation of each peer, over restarts", async () => {
  const folder = folderOf("pins");
  await formatJournal(folder, options);
  const pins = new PeerPins(disk, folder);
  assert.equal(pins.acquaintance("a:1", 5n), "nobody");
  pins.keep("a:1", 5n, false);
  pins.keep("a:1", 6n, false);
  assert.equal(pins.acquaintance("a:1", 5n), "same");
  assert.equal(pins.acquaintance("a:1", 6n), "other");
  assert.equal(new PeerPins(disk, folder).acquaintance("a:1", 6n), "other");
  pins.keep("a:1", 6n, true);
  assert.equal(new PeerPins(disk, folder).acquaintance("a:1", 6n), "same");
  assert.equal(pins.takenInAsOf, null);
  pins.noteTakenIn(12);
  pins.keep("b:1", 7n, false);
  const read = new PeerPins(disk, folder);
  assert.deepEqual([pins.takenInAsOf, read.takenInAsOf], [12, 12]);
  assert.equal(read.acquaintance("b:1", 7n), "same");
  // One that was written before there were joiners' notes, or by hand.
  writeFileSync(join(folder, "peers.json"), '{"incarnations": {"a:1": "0000000000000005"}}');
  assert.equal(new PeerPins(disk, folder).takenInAsOf, null);
  writeFileSync(join(folder, "peers.json"), '{"incarnations": {}, "takenInAsOf": "12"}');
  assert.throws(() => new PeerPins(disk, folder), /malformed/);
  writeFileSync(join(folder, "peers.json"), "{}");
  assert.throws(
    () => new PeerPins(disk, folder),
    (error) => isRockpoolError(error, "DATA_LOSS"),
  );
});

test("settleIdentity() makes a founder's or a joiner's journal, for good", async () => {
  const folder = folderOf("settled");
  await formatJournal(folder, options);
  const fresh = readIdentityFile(disk, folder, crc32c);
  const founders = ["b:1", "a:1"];
  const founder = settleIdentity(disk, folder, crc32c, fresh, { standing: "founder", founders });
  assert.deepEqual(readIdentityFile(disk, folder, crc32c), founder);
  assert.deepEqual([founder.memberId, founder.founders], [memberIdOf("b:1"), ["a:1", "b:1"]]);
  const joiner = settleIdentity(disk, folder, crc32c, fresh, { standing: "joiner", groupId: 7n });
  assert.deepEqual(readIdentityFile(disk, folder, crc32c), joiner);
  assert.deepEqual([joiner.memberId, joiner.groupId], [joinerIdOf("b:1", fresh.incarnation), 7n]);
});

test("groupIdOf() is of the set of addresses, in whatever order", () => {
  assert.equal(groupIdOf(["a:1", "b:1"]), groupIdOf(["b:1", "a:1"]));
  assert.notEqual(groupIdOf(["a:1"]), groupIdOf(["a:1", "b:1"]));
});
