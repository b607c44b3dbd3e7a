/**
 * Writes a file, reads it whole and in part, and removes it.
 * `node examples/write_and_read.mjs [masters]`, e.g. alluxio://localhost:19998,localhost:20998/
 */
import { FileSystem } from "rockpool/client";

const files = await FileSystem.connect({ masters: process.argv[2] ?? "localhost:19998" });
try {
  await files.writeFile("/examples/greeting", "hello, world", { isOverwrite: true });

  const whole = await files.readFile("/examples/greeting");
  console.log(Buffer.from(whole).toString());

  const file = await files.openFile("/examples/greeting");
  const part = await file.readAt(7, 5);
  console.log(`${file.lengthBytes} bytes, the last word is ${Buffer.from(part)}`);

  await files.delete("/examples/greeting");
  console.log(`still there: ${await files.exists("/examples/greeting")}`);
} finally {
  await files.close();
}
