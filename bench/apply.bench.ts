/**
 * The state machine alone: files created, renamed and removed in batches, on LMDB; and paths walked.
 * What it reaches bounds the changes per second of a cluster, whatever the journal does.
 * @module
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Path, parsePath } from "../src/common/path.ts";
import type { KeyValueStore } from "../src/kv/kv.ts";
import { openLmdb } from "../src/kv/lmdb_kv.ts";
import type { Command } from "../src/master/command.ts";
import { createMasterState } from "../src/master/state_machine.ts";
import { createFile, INITIALIZE, Log } from "./commands.ts";
import { type BenchCase, measure, report } from "./harness.ts";

/** What the journal hands over at most, and what it hands over when 8 clients wait for each other. */
const BATCHES = [256, 8];
const FILES_PER_DIRECTORY = 1000;

class Driver {
  readonly #log: Log;
  #file = 0;

  constructor(store: KeyValueStore) {
    this.#log = new Log(createMasterState({ store, onBlocksRemoved: () => {} }));
    this.#log.run([INITIALIZE]);
  }

  nextPath(): Path {
    const number = this.#file++;
    return parsePath(`/d${Math.floor(number / FILES_PER_DIRECTORY)}/file-${number}`);
  }

  create(count: number): void {
    this.#log.run(Array.from({ length: count }, () => createFile(this.nextPath())));
  }

  createAndRemove(count: number): void {
    const paths = Array.from({ length: count / 2 }, () => this.nextPath());
    this.#log.run([
      ...paths.map(createFile),
      ...paths.map(
        (path): Command => ({ kind: "remove", path, isRecursive: false, isAlluxioOnly: false }),
      ),
    ]);
  }

  walk(count: number): void {
    for (let i = 0; i < count; i++) {
      const number = (i * 7919) % this.#file;
      const path = `/d${Math.floor(number / FILES_PER_DIRECTORY)}/file-${number}`;
      this.#log.state.view.walk(path as Path); // made above
    }
  }
}

const folder = mkdtempSync(join(tmpdir(), "rockpool-apply-"));
try {
  const driver = (name: string) => new Driver(openLmdb(join(folder, name)).store);
  const made = driver("made");
  const removed = driver("removed");
  const walked = driver("walked");
  for (let i = 0; i < 40; i++) walked.create(256);
  const cases = BATCHES.flatMap((size): BenchCase[] => [
    { name: `create, ${size} entries a batch`, bytesPerCall: 0, run: () => made.create(size) },
    {
      name: `create and remove, ${size} entries a batch`,
      bytesPerCall: 0,
      run: () => removed.createAndRemove(size),
    },
  ]);
  const walks: BenchCase = {
    name: "walk to 256 files",
    bytesPerCall: 0,
    run: () => walked.walk(256),
  };
  const results = [...cases, walks]
    .map((benchCase) => measure([benchCase])[0])
    .filter((r) => r !== undefined);
  const createsPerSecond = (256 * 1e9) / (results[0]?.medianNsPerCall ?? Infinity);
  report(
    "apply",
    [{ title: "apply() on LMDB, ns a batch", results }],
    [
      {
        text: "files created a second, applied in batches of 256",
        value: createsPerSecond,
        min: 15_000,
      },
    ],
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}
