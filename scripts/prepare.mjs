/**
 * What every script needs first: the packages that package-lock.json names, and a dist/ that is no older than
 * its sources. Uses nothing but Node itself, since it runs before anything is installed.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
const NODE_MAJOR_MIN = 20;

/** Ends this process when the command fails. */
function run(what, command, args) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: "inherit" });
  if (status === 0) return;
  console.error(`${what} failed${error === undefined ? "" : `: ${error.message}`}`);
  process.exit(status || 1);
}

const modifiedMs = (path) => (existsSync(path) ? statSync(path).mtimeMs : 0);

export function checkNode() {
  const major = Number(process.versions.node.split(".")[0]);
  if (major >= NODE_MAJOR_MIN) return;
  console.error(`Node ${NODE_MAJOR_MIN} or newer is needed; this is ${process.versions.node}.`);
  process.exit(1);
}

/** `npm ci` when node_modules is not there or older than the lock file. */
export function installIfNeeded() {
  const installedMs = modifiedMs(join(root, "node_modules/.package-lock.json"));
  if (installedMs > 0 && installedMs >= modifiedMs(join(root, "package-lock.json"))) return;
  console.log("Installing packages …");
  const npm = process.env.npm_execpath;
  const args = ["ci", "--include=dev", "--no-audit", "--no-fund"];
  if (npm?.endsWith("js")) run("npm ci", process.execPath, [npm, ...args]);
  else run("npm ci", "npm", args);
}

const SOURCES = [
  "src",
  "asm",
  "workers-runtime/src",
  "scripts/generate_proto.mjs",
  "build.mjs",
  "package-lock.json",
];
/** Made by the build itself, so never a reason to build. */
const GENERATED = /(^|\/)gen(\/|$)|\.test\.ts$/;

function newestMs(path) {
  const full = join(root, path);
  if (!existsSync(full)) return 0;
  if (!statSync(full).isDirectory()) return modifiedMs(full);
  return readdirSync(full, { recursive: true })
    .filter((name) => !GENERATED.test(name))
    .reduce((newest, name) => Math.max(newest, modifiedMs(join(full, name))), 0);
}

export function isStale() {
  const builtMs = modifiedMs(join(root, "dist/built"));
  return builtMs === 0 || SOURCES.some((path) => newestMs(path) > builtMs);
}

export function buildIfStale() {
  if (!existsSync(join(root, "src")) || !isStale()) return;
  console.log("Building …");
  run("The build", process.execPath, ["build.mjs"]);
}
