/**
 * An esbuild plugin that builds the product with a bug in it: `{name, file, find, replace}` replaces one piece of one source,
 * and `also` may name more of them. Each must be there exactly once, or the bug is out of date, and the build fails.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./prepare.mjs";

export function plant({ name, file, find, replace, also = [] }) {
  const pieces = [{ file, find, replace }, ...also];
  return {
    name: "planted-bug",
    setup({ onLoad }) {
      onLoad({ filter: /\.ts$/ }, ({ path }) => {
        const here = pieces.filter((piece) => path === join(root, piece.file));
        if (here.length === 0) return undefined;
        let contents = readFileSync(path, "utf8");
        for (const piece of here) {
          const parts = contents.split(piece.find);
          if (parts.length !== 2)
            throw new Error(
              `${name}: ${piece.file} holds what it looks for ${parts.length - 1} times`,
            );
          contents = parts.join(piece.replace);
        }
        return { contents, loader: "ts" };
      });
    },
  };
}
