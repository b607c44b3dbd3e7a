/**
 * Runs a CommonJS file with V8's compiled code kept beside it: a command then starts in half the time.
 *
 * `<file>.cache` is a line that names Node, machine and the file's size and time, then V8's bytes. A line that does not
 * fit, and bytes that V8 refuses, are replaced after the run; where that cannot be written all goes on without.
 */
const { readFileSync, renameSync, statSync, writeFileSync } = require("node:fs");
const { createRequire } = require("node:module");
const { dirname } = require("node:path");
const { constants, Script } = require("node:vm");

/** Folders of other users, read-only and full disks. */
const MAY_FAIL = new Set(["EACCES", "EPERM", "EROFS", "ENOSPC", "ENOENT"]);

function tolerant(act) {
  try {
    return act();
  } catch (error) {
    if (MAY_FAIL.has(error.code)) return null;
    throw error;
  }
}

/** @param isKept this command needs the functions that most commands need, so its compiled code is worth keeping */
function runCached(file, { isKept }) {
  const cacheFile = `${file}.cache`;
  const { size, mtimeMs } = statSync(file);
  const key = Buffer.from(`${process.version} ${process.arch} ${size} ${mtimeMs}\n`);
  const kept = tolerant(() => readFileSync(cacheFile));
  const isFitting = kept !== null && kept.subarray(0, key.length).equals(key);
  const source = readFileSync(file, "utf8");
  const script = new Script(
    `(function (exports, require, module, __filename, __dirname) {${source}\n})`,
    {
      filename: file,
      importModuleDynamically: constants?.USE_MAIN_CONTEXT_DEFAULT_LOADER,
      ...(isFitting ? { cachedData: kept.subarray(key.length) } : {}),
    },
  );
  const module = { exports: {} };
  script
    .runInThisContext()
    .call(module.exports, module.exports, createRequire(file), module, file, dirname(file));
  if (!isKept || (isFitting && script.cachedDataRejected !== true)) return;
  // At the end, as only then it is known which functions a command needs.
  process.once("exit", () =>
    tolerant(() => {
      const temporary = `${cacheFile}.${process.pid}`;
      writeFileSync(temporary, Buffer.concat([key, script.createCachedData()]));
      renameSync(temporary, cacheFile);
    }),
  );
}

module.exports = { runCached };
