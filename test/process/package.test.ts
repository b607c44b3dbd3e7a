/**
 * The packed package, installed into an empty folder, runs a cluster.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, test } from "node:test";
import { freePortOffset } from "./local_cluster.ts";

const folder = mkdtempSync(join(tmpdir(), "rockpool-package-"));
after(() => rmSync(folder, { recursive: true, force: true }));

function run(command: string, ...words: readonly string[]) {
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(ALLUXIO_|npm_)/.test(name)),
  );
  const { status, stdout, stderr } = spawnSync(command, [...words], {
    cwd: folder,
    env,
    encoding: "utf8",
  });
  return { status, stdout, text: `${stdout}${stderr}` };
}

const NO_REGISTRY = /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENETUNREACH|ENOTCACHED|network/i;

test("npm pack, npm install, npx rockpool local start, put and cat a file", async (context) => {
  const packed = run("npm", "pack", process.cwd(), "--ignore-scripts", "--json");
  assert.equal(packed.status, 0, packed.text);
  const [archive] = JSON.parse(packed.stdout) as [{ filename: string; files: { path: string }[] }];
  const paths = archive.files.map(({ path }) => path);
  for (const needed of [
    "bin/rockpool",
    "bin/alluxio",
    "dist/main.js",
    "dist/cli.cjs",
    "dist/client.js",
    "dist/web_ui/app.js",
    "LICENSE",
    "README.md",
  ])
    assert.ok(paths.includes(needed), needed);
  assert.equal(
    paths.some((path) => /^(src|test|bench|node_modules)\//.test(path)),
    false,
  );

  writeFileSync(join(folder, "package.json"), '{"name":"empty","private":true}');
  const installed = run(
    "npm",
    "install",
    `./${archive.filename}`,
    "--prefer-offline",
    "--no-audit",
    "--no-fund",
  );
  if (installed.status !== 0 && NO_REGISTRY.test(installed.text)) {
    context.skip("the registry of packages cannot be reached");
    return;
  }
  assert.equal(installed.status, 0, installed.text);

  const formatted = run("npx", "alluxio", "journal", "format");
  assert.equal(formatted.status, 0, formatted.text);
  assert.ok(
    existsSync(join(folder, "journal")),
    "data lies where the user is, not in node_modules",
  );

  const offset = await freePortOffset(1, 1);
  const shape = ["--masters", "1", "--workers", "1", "--port-offset", String(offset)];
  try {
    const started = run("npx", "rockpool", "local", "start", ...shape);
    assert.equal(started.status, 0, started.text);
    assert.match(started.text, /master 1 leads/);
    const put = run("npx", "alluxio", "fs", "copyFromLocal", "package.json", "/package.json");
    assert.equal(put.status, 0, put.text);
    const cat = run("npx", "alluxio", "fs", "cat", "/package.json");
    assert.equal(cat.stdout, readFileSync(join(folder, "package.json"), "utf8"));
  } finally {
    const stopped = run("npx", "rockpool", "local", "stop");
    assert.match(stopped.text, /master 1 stopped/);
  }
});

/** What a program may write, and two things that it may not. */
const PROGRAM = `
import { type ConnectOptions, type FileStatus, FileSystem, isRockpoolError, RockpoolError } from "rockpool/client";
const options: ConnectOptions = { masters: "zk@zk1:2181,zk2:2181" };
const files: FileSystem = await FileSystem.connect(options);
const status: FileStatus = await files.getStatus("/");
const some: FileSystem = files.onWorkers(["worker1"]);
if (isRockpoolError(status) || some instanceof FileSystem) throw new RockpoolError("INTERNAL", status.path);
// @ts-expect-error masters are named by text
await FileSystem.connect({ masters: 5 });
// @ts-expect-error only connect() makes one
new FileSystem();
`;

test("a TypeScript program finds the types of what the package exports", () => {
  const tsc = resolve("node_modules/typescript/bin/tsc");
  const there = join(folder, "typed");
  const installed = join(there, "node_modules", "rockpool");
  mkdirSync(join(installed, "dist"), { recursive: true });
  symlinkSync(resolve("node_modules/@types"), join(there, "node_modules", "@types"));
  writeFileSync(join(installed, "package.json"), readFileSync("package.json"));
  const types = join(installed, "dist", "types");
  const made = run(process.execPath, tsc, "-p", resolve("tsconfig.client.json"), "--outDir", types);
  assert.equal(made.status, 0, made.text);
  const program = join(there, "program.mts");
  writeFileSync(program, PROGRAM);
  const flags = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2022"];
  const typeRoots = ["--types", "node", "--typeRoots", resolve("node_modules/@types")];
  const checked = run(process.execPath, tsc, ...flags, ...typeRoots, program);
  assert.equal(checked.text, "");
  assert.equal(checked.status, 0);
});
