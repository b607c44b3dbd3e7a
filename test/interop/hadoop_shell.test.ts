/**
 * The unmodified Alluxio 2.9.4 client under Hadoop's FsShell, against a real local cluster, with every
 * form of address.
 * @module
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { LocalCluster } from "../process/local_cluster.ts";
import { type CommandResult, HadoopShell, javaToolchain } from "./java_client.ts";

const TREE_FILES = 1000;
const LARGE_BYTES = 1024 ** 3 + 12_345;

const java = javaToolchain();
if (java.kind === "missing") {
  const line = `INTEROP NOT TESTED: ${java.why}`;
  console.error(`\n${"!".repeat(line.length)}\n${line}\n${"!".repeat(line.length)}\n`);
  if (process.env["ROCKPOOL_REQUIRE_JAVA"] === "1") throw new Error(line);
}

async function makeTree(folder: string): Promise<void> {
  for (let d = 0; d < 20; d++) {
    const directory = join(folder, `d${d}`, "inner");
    await mkdir(directory, { recursive: true });
    for (let f = 0; f < TREE_FILES / 20; f++)
      await writeFile(join(directory, `file ${f}.txt`), `${d}/${f} ü `.repeat((d * 50 + f) % 97));
  }
}

async function contentsOf(folder: string): Promise<Map<string, string>> {
  const contents = new Map<string, string>();
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || entry.name.endsWith(".crc")) continue;
    const path = join(entry.parentPath, entry.name);
    contents.set(path.slice(folder.length), await readFile(path, "utf8"));
  }
  return contents;
}

/** A large file of bytes that repeat at no power of two, so that swapped blocks show. */
async function makeLarge(path: string): Promise<void> {
  const out = createWriteStream(path);
  const chunk = Buffer.alloc(1_000_003);
  for (let i = 0; i < chunk.length; i++) chunk[i] = (i * 31 + (i >> 8)) & 0xff;
  for (let written = 0; written < LARGE_BYTES; ) {
    const part = chunk.subarray(0, Math.min(chunk.length, LARGE_BYTES - written));
    written += part.length;
    if (!out.write(part)) await once(out, "drain");
  }
  out.end();
  await once(out, "finish");
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash("md5");
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return hash.digest("hex");
}

function ok(result: CommandResult, what: string): string {
  assert.equal(result.exit, 0, `${what}: ${result.stderr}`);
  return result.stdout.toString();
}

describe("Hadoop FsShell with the unmodified Alluxio 2.9.4 client", {
  skip: java.kind === "missing",
}, () => {
  let cluster: LocalCluster;
  let shell: HadoopShell;
  let folder: string;

  before(async () => {
    assert.ok(java.kind === "ready");
    folder = await mkdtemp(join(tmpdir(), "rockpool-interop-"));
    cluster = await LocalCluster.start({ masters: 3, workers: 2, workerBytes: 4 * 1024 ** 3 });
    shell = new HadoopShell(java.classpath);
  });

  after(async () => {
    await shell?.close();
    await cluster?.stop();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  });

  /** One round of every command, below `/round` of the default file system. */
  async function round(name: string): Promise<void> {
    const base = `/${name}`;
    const local = join(folder, name);
    await mkdir(local);
    const content = Buffer.from(`content of ${name} `.repeat(5000));
    await writeFile(join(local, "a.bin"), content);
    ok(await shell.fs("-mkdir", base), "mkdir");
    ok(await shell.fs("-mkdir", "-p", `${base}/x/y/z`), "mkdir -p");
    assert.notEqual((await shell.fs("-mkdir", base)).exit, 0, "an existing directory is refused");
    ok(await shell.fs("-put", join(local, "a.bin"), `${base}/a.bin`), "put");
    assert.notEqual((await shell.fs("-put", join(local, "a.bin"), `${base}/a.bin`)).exit, 0);
    ok(await shell.fs("-put", "-f", join(local, "a.bin"), `${base}/a.bin`), "put -f");
    const cat = await shell.fs("-cat", `${base}/a.bin`);
    assert.ok(cat.stdout.equals(content), "cat gives the bytes that were put");
    ok(await shell.fs("-touchz", `${base}/x/empty`), "touchz");
    assert.match(
      ok(await shell.fs("-ls", "-R", base), "ls -R"),
      /a\.bin[\s\S]*x\/empty[\s\S]*x\/y\/z/,
    );
    assert.equal(
      ok(await shell.fs("-stat", "%b %F %n", `${base}/a.bin`), "stat").trim(),
      `${content.length} regular file a.bin`,
    );
    assert.match(ok(await shell.fs("-du", "-s", base), "du"), new RegExp(`^${content.length}\\s`));
    ok(await shell.fs("-mv", `${base}/a.bin`, `${base}/x/moved.bin`), "mv");
    assert.notEqual((await shell.fs("-cat", `${base}/a.bin`)).exit, 0, "the old name is gone");
    ok(await shell.fs("-get", `${base}/x/moved.bin`, join(local, "back.bin")), "get");
    assert.ok((await readFile(join(local, "back.bin"))).equals(content));
    assert.notEqual((await shell.fs("-rmdir", `${base}/x`)).exit, 0, "a full directory is refused");
    ok(await shell.fs("-rm", "-r", "-skipTrash", base), "rm -r");
    assert.equal((await shell.fs("-test", "-e", base)).exit, 1);
  }

  test("every command works with one host and port", async () => {
    await shell.configure({ "fs.defaultFS": `alluxio://${await cluster.leaderAddress()}` });
    await round("single");
  });

  test("every command works with hosts parted by commas", async () => {
    await shell.configure({ "fs.defaultFS": `alluxio://${cluster.masters.join(",")}` });
    await round("commas");
  });

  test("every command works with hosts parted by semicolons", async () => {
    await shell.configure({ "fs.defaultFS": `alluxio://${cluster.masters.join(";")}` });
    await round("semicolons");
  });

  test("every command works without an authority and with alluxio.master.rpc.addresses", async () => {
    await shell.configure({
      "fs.defaultFS": "alluxio:///",
      "alluxio.master.rpc.addresses": cluster.masters.join(","),
    });
    await round("addresses");
  });

  test("a tree of 1,000 files comes back byte for byte, also after all are renamed at once", async () => {
    await shell.configure({ "fs.defaultFS": `alluxio://${cluster.masters.join(",")}` });
    const tree = join(folder, "tree");
    await makeTree(tree);
    ok(await shell.fs("-put", tree, "/tree"), "put");
    const listed = ok(await shell.fs("-ls", "-R", "/tree"), "ls -R").split("\n");
    assert.equal(listed.filter((line) => line.startsWith("-")).length, TREE_FILES);
    ok(await shell.fs("-mv", "/tree", "/moved"), "mv");
    ok(await shell.fs("-get", "/moved", join(folder, "tree-back")), "get");
    assert.deepEqual(await contentsOf(join(folder, "tree-back")), await contentsOf(tree));
    ok(await shell.fs("-rm", "-r", "-skipTrash", "/moved"), "rm -r");
  });

  test("a file of more than 1 GiB comes back byte for byte", async () => {
    const source = join(folder, "large");
    await makeLarge(source);
    ok(await shell.fs("-put", source, "/large"), "put");
    ok(await shell.fs("-get", "/large", join(folder, "large-back")), "get");
    assert.equal((await stat(join(folder, "large-back"))).size, LARGE_BYTES);
    assert.equal(await digestOf(join(folder, "large-back")), await digestOf(source));
    ok(await shell.fs("-rm", "-skipTrash", "/large"), "rm");
  });

  for (const writeType of ["MUST_CACHE", "CACHE_THROUGH", "THROUGH", "ASYNC_THROUGH"]) {
    for (const readType of ["CACHE", "CACHE_PROMOTE", "NO_CACHE"]) {
      test(`bytes written with ${writeType} are read with ${readType}`, async () => {
        await shell.configure({
          "fs.defaultFS": `alluxio://${cluster.masters.join(",")}`,
          "alluxio.user.file.writetype.default": writeType,
          "alluxio.user.file.readtype.default": readType,
          "alluxio.user.block.size.bytes.default": "1MB",
        });
        const local = join(folder, `${writeType}-${readType}`);
        const content = Buffer.alloc(3_500_000, `${writeType} ${readType} `);
        await writeFile(local, content);
        const remote = `/types/${writeType}/${readType}`;
        ok(await shell.fs("-mkdir", "-p", `/types/${writeType}`), "mkdir");
        ok(await shell.fs("-put", local, remote), "put");
        for (let time = 0; time < 2; time++)
          assert.ok((await shell.fs("-cat", remote)).stdout.equals(content), `read ${time}`);
      });
    }
  }
});
