/**
 * Our own client writing small files without pause, as the Java writer does beside it.
 * @module
 */
import { FileSystem } from "../../src/client/file_system.ts";
import { messageOf } from "../../src/common/errors.ts";
import type { Acknowledged } from "./gaps.ts";
import type { LocalCluster } from "./local_cluster.ts";

export class OwnWriter {
  readonly acknowledged: Acknowledged[] = [];
  readonly failures: string[] = [];
  /** Resolves with the first acknowledgement. */
  readonly ready: Promise<void>;
  readonly #fileSystem: FileSystem;
  readonly #done: Promise<void>;
  #isStopped = false;

  private constructor(fileSystem: FileSystem, directory: string) {
    this.#fileSystem = fileSystem;
    let started = () => {};
    this.ready = new Promise((resolve) => {
      started = resolve;
    });
    this.#done = this.#run(directory, started);
  }

  static async start(cluster: LocalCluster, directory: string): Promise<OwnWriter> {
    const fileSystem = await FileSystem.connect({
      masters: cluster.masters,
      writeType: "MUST_CACHE",
    });
    return new OwnWriter(fileSystem, directory);
  }

  async #run(directory: string, started: () => void): Promise<void> {
    for (let i = 0; !this.#isStopped; i++) {
      const name = `own-${i}`;
      const startMs = Date.now();
      try {
        await this.#fileSystem.writeFile(`${directory}/${name}`, name.repeat(100));
        this.acknowledged.push({ name, startMs, endMs: Date.now() });
      } catch (error) {
        this.failures.push(`${name}: ${messageOf(error)}`);
      }
      started();
    }
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#done;
    await this.#fileSystem.close();
  }
}
