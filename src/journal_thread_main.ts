/**
 * Entry point of the journal thread, src/journal/journal_thread.ts says what it does; and of the thread that it starts for
 * its disk, src/journal/disk_thread.ts.
 * @module
 */
import { parentPort, workerData } from "node:worker_threads";
import { invariant } from "./common/invariant.ts";
import { DiskThread, type DiskWorkerData, serveDisk } from "./journal/disk_thread.ts";
import { DiskWriter } from "./journal/disk_writer.ts";
import { nodeFileSystem } from "./journal/file_system.ts";
import type { FromThread, ToThread } from "./journal/journal_protocol.ts";
import { JournalCore } from "./journal/journal_thread.ts";
import { tcpTransport } from "./journal/raft_transport.ts";
import type { ThreadWorkerData } from "./journal/thread_port.ts";
import { Wire } from "./journal/thread_wire.ts";
import { Wakefulness } from "./journal/wakefulness.ts";
import { openKernels } from "./kernels/load.ts";
import { nodeWorld } from "./world/node_world.ts";

/** Checksums of loose bytes need no arena of their own. */
const ARENA_BYTES = 64 * 1024;

/** What the journal thread starts its disk's thread with. */
type DiskData = { readonly disk: DiskWorkerData };

// Only `workerThread` of thread_port.ts and the journal thread itself start this script.
const started = workerData as ThreadWorkerData | DiskData;
if ("disk" in started) serveDisk(started.disk);
else runJournal(started);

function runJournal({ kernelFlavour }: ThreadWorkerData): void {
  const port = parentPort;
  invariant(port !== null, "this script runs in a worker thread");
  const kernels = openKernels({ flavour: kernelFlavour, arenaBytes: ARENA_BYTES });
  const crc32c = (bytes: Uint8Array, seed?: number) => kernels.crc32c(bytes, seed);
  const world = nodeWorld();
  const disk = new DiskThread(new URL(import.meta.url), (shared): DiskData => ({ disk: shared }));
  const writer = new DiskWriter(disk, world);
  const wakefulness = new Wakefulness(world);
  const wire = new Wire<FromThread>({
    timers: world.timers,
    post(messages) {
      port.postMessage(messages);
      if (writer.isAlone && messages.some(({ kind }) => kind === "committedOwn"))
        wakefulness.prolong();
    },
    // Nobody asks where an entry is before it is committed, which is said next.
    mayWait: ({ kind }) => kind === "accepted",
  });
  const core = new JournalCore({
    fileSystem: nodeFileSystem(writer),
    crc32c,
    world,
    createTransport: tcpTransport(crc32c, world),
    post(message) {
      wire.put(message);
      if (message.kind !== "closed") return;
      // Nothing follows it: without the port, nothing holds the thread.
      wire.flush();
      port.close();
    },
  });
  port.on("message", (messages: readonly ToThread[]) => {
    for (const message of messages) core.receive(message);
  });
}
