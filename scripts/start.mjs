/** `npm start`: installs, builds, then runs a local cluster in the foreground. Options: `npm start -- --help`. */
import { createRequire } from "node:module";
import { join } from "node:path";
import { buildIfStale, checkNode, installIfNeeded, root } from "./prepare.mjs";

checkNode();
installIfNeeded();
buildIfStale();
const cli = join(root, "dist/cli.cjs");
process.argv = [process.argv[0], cli, "local", "run", ...process.argv.slice(2)];
createRequire(import.meta.url)(cli);
