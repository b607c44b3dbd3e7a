/**
 * Walks a directory: entries are fetched while the loop runs.
 * `node examples/list_tree.mjs [masters] [path]`
 */
import { FileSystem } from "rockpool/client";

const [masters = "localhost:19998", path = "/"] = process.argv.slice(2);
const files = await FileSystem.connect({ masters });
try {
  await files.createDirectory("/examples/tree/inner", { allowExists: true });
  await files.writeFile("/examples/tree/inner/leaf", "x", { isOverwrite: true });
  for await (const status of files.listStatus(path, { isRecursive: true }))
    console.log(`${status.isDirectory ? "directory" : `${status.lengthBytes} bytes`}  ${status.path}`);
} finally {
  await files.close();
}
