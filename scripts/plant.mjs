/**
 * An esbuild plugin that builds the product with a bug in it: `{name, file, find, replace}` replaces one piece of one source.
 * The piece must be there exactly once, or the bug is out of date, and the build fails.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./prepare.mjs";

export function plant({ name, file, find, replace }) {
  return {
    name: "planted-bug",
    setup({ onLoad }) {
      onLoad({ filter: /\.ts$/ }, ({ path }) => {
        if (path !== join(root, file)) return undefined;
        const parts = readFileSync(path, "utf8").split(find);
        if (parts.length !== 2)
          throw new Error(`${name}: ${file} holds what it looks for ${parts.length - 1} times`);
        return { contents: parts.join(replace), loader: "ts" };
      });
    },
  };
}
