/**
 * How fast a restart reads the write-ahead log back: every batch checked, every entry placed, with the kernels in
 * WebAssembly and with those in TypeScript, beside the bare reading of the same files. The log is warm in the page cache,
 * so this is what the processor takes; a cold one takes what the disk takes.
 *
 * `--mib=N` sets the size of the log (256).
 * @module
 */
import { type BenchResult, numberFlag, percentile, report } from "./harness.ts";
import { crcOf, ENTRY_BYTES, writeRecoveryLog } from "./recovery_log.ts";

const MIB = 1024 * 1024;
const ROUNDS = 5;

function resultOf(name: string, bytes: number, roundsNs: readonly number[]): BenchResult {
  const round = (value: number) => Number(value.toPrecision(4));
  const bestNsPerCall = percentile(roundsNs, 0);
  const medianNsPerCall = percentile(roundsNs, 0.5);
  return {
    name,
    bestNsPerCall: round(bestNsPerCall),
    medianNsPerCall: round(medianNsPerCall),
    bestGBps: round(bytes / bestNsPerCall),
    medianGBps: round(bytes / medianNsPerCall),
  };
}

const log = await writeRecoveryLog(numberFlag("mib", 256));
try {
  const [wasmCrc, jsCrc] = [crcOf("wasm"), crcOf("js")];
  const rivals = [
    { name: "recovery, WebAssembly", run: () => log.recover(wasmCrc) },
    { name: "recovery, TypeScript", run: () => log.recover(jsCrc) },
    { name: "reading alone", run: () => log.readOnly() },
  ].map((rival) => ({ ...rival, roundsNs: [] as number[] }));
  for (let round = 0; round < ROUNDS; round++)
    for (const { run, roundsNs } of rivals) {
      const start = process.hrtime.bigint();
      run();
      roundsNs.push(Number(process.hrtime.bigint() - start));
    }
  const results = rivals.map(({ name, roundsNs }) => resultOf(name, log.bytes, roundsNs));
  const title = `A log of ${Math.round(log.bytes / MIB)} MiB, ${log.lastIndex} entries of ${ENTRY_BYTES} B`;
  const [wasm, js] = results;
  const ratio = (wasm?.bestGBps ?? 0) / (js?.bestGBps ?? 1);
  report(
    "recovery",
    [{ title, results }],
    [{ text: "WebAssembly against TypeScript", value: ratio, min: 1 }],
  );
} finally {
  log.remove();
}
