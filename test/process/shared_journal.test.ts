/**
 * The journal's tools on one that lies on a shared store: the real commands, beside a master that runs, and on damage.
 * @module
 */
import assert from "node:assert/strict";
import {
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { EXIT } from "../../src/common/errors.ts";
import { nodeDir } from "../../src/local/cluster_files.ts";
import { LocalCluster } from "./local_cluster.ts";

describe("the tools of a shared journal", () => {
  const folder = mkdtempSync(join(tmpdir(), "rockpool-shared-journal-"));
  const shared = join(folder, "journal");
  const definitions = [
    "alluxio.master.journal.type=UFS",
    `alluxio.master.journal.folder=${shared}`,
  ];
  const given = definitions.map((definition) => `-D${definition}`);
  let cluster: LocalCluster;
  /** Of the journal within its folder. */
  let group = "";

  before(async () => {
    cluster = await LocalCluster.start({
      masters: 1,
      workers: 1,
      definitions,
    });
    group = readdirSync(shared).find((name) => /^[0-9a-f]{16}$/.test(name)) ?? "";
  });
  after(async () => {
    await cluster?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  async function run(exit: number, ...words: readonly string[]): Promise<string> {
    const { exit: code, stdout, stderr } = await cluster.masterCli(1, ...words, ...given);
    assert.equal(code, exit, `${words.join(" ")}: ${stdout}${stderr}`);
    return stdout + stderr;
  }
  const mkdir = (path: string) => run(0, "fs", "mkdir", path);
  const names = (part: string) => readdirSync(join(shared, group, part)).sort();

  async function read(...words: readonly string[]): Promise<{ said: string; text: string }> {
    const dump = join(folder, "dump");
    const said = await run(0, "journal", "read", "-output-dir", dump, ...words);
    return { said, text: readFileSync(join(dump, "edits.txt"), "utf8") };
  }

  async function stop(): Promise<void> {
    cluster.kill("master", 1, "SIGTERM");
    await cluster.until("the master has ended", () => !cluster.isRunning("master", 1));
  }

  test("read and verify look at it while its master runs", async () => {
    await mkdir("/before-it");
    assert.match(
      await run(0, "journal", "verify"),
      /There is no checkpoint .*\nThe journal is sound/,
    );
    const { said, text } = await read();
    assert.match(said, /^Dumping journal of type UFS to .*\nWrote \d+ entries to /);
    assert.match(text, /^kind: fence$/m);
    assert.match(text, /before-it/);
    assert.match(text, /^ {2}"by": "[0-9a-f]{32}",$/m);
    assert.doesNotMatch(text, /"type": "Buffer"/);
    await run(0, "journal", "checkpoint");
    await mkdir("/after-it");
    const verified = await run(0, "journal", "verify", "--deep");
    assert.match(
      verified,
      /Checkpoint .*\/checkpoint\/[0-9a-f]{16}: sound, \d+ B, everything through/,
    );
    assert.match(verified, /Masters begin from the checkpoint of entry \d+/);
    const later = await read();
    assert.match(later.said, /It begins behind the newest checkpoint/);
    assert.doesNotMatch(later.text, /before-it/);
    assert.match(later.text, /after-it/);
    const all = await read("-start", "1", "-input-dir", pathToFileURL(shared).href);
    assert.match(all.text, /before-it[\s\S]*after-it/);
    const range = await read("-start", "2", "-end", "4", "-input-dir", shared);
    assert.deepEqual(range.text.match(/sequence_number: \d+/g), [
      "sequence_number: 2",
      "sequence_number: 3",
    ]);
  });

  test("where there is none, they say so", async () => {
    for (const verb of ["read", "verify"]) {
      const said = await run(255, "journal", verb, "-input-dir", pathToFileURL(folder).href);
      assert.match(said, /There is no journal in .*rockpool-journal is missing/);
    }
    const sound = await run(255, "journal", "repair", "--accept-loss-after", "1");
    assert.match(sound, /Nothing is wrong with it/);
  });

  test("damage is told of by name; what repair says to move away makes it a journal again", async () => {
    for (const at of [0, 1, 2, 3]) await mkdir(`/late-${at}`);
    await stop();
    const copy = join(folder, "copy");
    cpSync(shared, copy, { recursive: true });
    const [name = ""] = names("log").slice(-3);
    const path = join(shared, group, "log", name);
    const bytes = readFileSync(path);
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    writeFileSync(path, bytes);
    writeFileSync(join(shared, group, "log", "notes"), "not ours");
    const said = await run(255, "journal", "verify");
    assert.ok(said.includes(`damaged: ${path} is damaged: The CRC-32C`), said);
    assert.match(said, /spare: .*\/log\/notes is no part of the journal/);
    assert.match(said, /The journal is damaged\./);
    const { said: told } = await read();
    assert.ok(told.includes(`${path} is damaged`), told);

    const asked = await run(255, "journal", "repair", "--accept-loss-after", "1");
    const [, last = ""] = /--accept-loss-after (\d+)` says what to move away/.exec(asked) ?? [];
    assert.equal(Number(last), Number.parseInt(name, 16) - 1);
    const advice = await run(255, "journal", "repair", "--accept-loss-after", last);
    const away = advice.match(/^ {7}[0-9a-f]{16}\/.*$/gm) ?? [];
    assert.equal(away.length, 3, advice);
    for (const one of away) renameSync(join(shared, one.trim()), join(folder, one.slice(-16)));
    rmSync(join(nodeDir(cluster.dir, cluster.node("master", 1)), "metastore"), { recursive: true });
    rmSync(join(shared, group, "log", "notes"));
    assert.match(await run(0, "journal", "verify", "--deep"), /The journal is sound/);
    await cluster.startProcess("master", 1);
    await mkdir("/once-more");
    const listed = await run(0, "fs", "ls", "/");
    assert.match(listed, /\/after-it\n/);
    assert.doesNotMatch(listed, /\/late-3\n/);
    assert.match(await run(0, "journal", "verify"), /The journal is sound/);
    assert.match(await run(0, "journal", "verify", "-input-dir", copy), /The journal is sound/);
  });

  test("a master ends when its journal is formatted anew under it, and takes part in the new one when it is started", async () => {
    const elsewhere = [`-Dalluxio.master.metastore.dir=${join(folder, "metastore")}`];
    const { exit, stdout, stderr } = await cluster.cli(
      ...["journal", "format", "-y"],
      ...[...given, ...elsewhere],
    );
    assert.equal(exit, 0, stdout + stderr);
    await cluster.until("the master has ended", () => !cluster.isRunning("master", 1));
    const log = cluster.log("master", 1);
    assert.match(log, /was formatted anew while this master ran: rockpool-journal names the group/);
    assert.match(log, new RegExp(`exitCode=${EXIT.notFormatted}`));
    const sound = await run(0, "journal", "verify");
    assert.match(sound, /: 0 objects, .* no entries/, "nothing of the old one is in the new one");
    await cluster.startProcess("master", 1);
    await mkdir("/new");
    assert.doesNotMatch(await run(0, "fs", "ls", "/"), /once-more/);
  });
});
