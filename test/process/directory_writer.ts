/**
 * A client that makes one directory after the other without pause: the finest measure of how long masters do not serve.
 * @module
 */
import { FileSystem } from "../../src/client/file_system.ts";
import { messageOf } from "../../src/common/errors.ts";
import { type Acknowledged, longestGapMs } from "./gaps.ts";
import type { LocalCluster } from "./local_cluster.ts";

export class DirectoryWriter {
  readonly acknowledged: Acknowledged[] = [];
  readonly failures: string[] = [];
  readonly #fileSystem: FileSystem;
  readonly #directory: string;
  readonly #done: Promise<void>;
  #isStopped = false;

  private constructor(fileSystem: FileSystem, directory: string) {
    this.#fileSystem = fileSystem;
    this.#directory = directory;
    this.#done = this.#run();
  }

  static async start(cluster: LocalCluster, directory: string): Promise<DirectoryWriter> {
    const fileSystem = await FileSystem.connect({ masters: cluster.masters });
    await fileSystem.createDirectory(directory, { isRecursive: true });
    const writer = new DirectoryWriter(fileSystem, directory);
    await cluster.until("the first directory is made", () => writer.acknowledged.length > 0);
    return writer;
  }

  async #run(): Promise<void> {
    for (let i = 0; !this.#isStopped; i++) {
      const name = `d${i}`;
      const startMs = Date.now();
      try {
        await this.#fileSystem.createDirectory(`${this.#directory}/${name}`);
        this.acknowledged.push({ name, startMs, endMs: Date.now() });
      } catch (error) {
        this.failures.push(`${name}: ${messageOf(error)}`);
      }
    }
  }

  /** Longest time between two acknowledgements while `act` runs, and until some more came after it. */
  async gapDuring(cluster: LocalCluster, act: () => Promise<void>): Promise<number> {
    const fromMs = Date.now();
    await act();
    const count = this.acknowledged.length + 20;
    await cluster.until("the writer goes on", () => this.acknowledged.length >= count);
    return longestGapMs(this.acknowledged, fromMs);
  }

  /**
   * Names of directories that were acknowledged by now and are not there.
   * @param by whose client looks: one that knows the masters of now
   */
  async missing(by: DirectoryWriter = this): Promise<readonly string[]> {
    const names = this.acknowledged.map(({ name }) => name);
    const found = new Set<string>();
    for await (const { name } of by.#fileSystem.listStatus(this.#directory)) found.add(name);
    return names.filter((name) => !found.has(name));
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#done;
  }

  async close(): Promise<void> {
    await this.stop();
    await this.#fileSystem.close();
  }
}
