/** A reporter for `node --test`: the files in which a test failed, one a line, each once. */
// biome-ignore lint/style/noDefaultExport: that is how Node loads a reporter
export default async function* failedFiles(source) {
  const told = new Set();
  for await (const { type, data } of source) {
    if (type !== "test:fail" || data.file === undefined || told.has(data.file)) continue;
    told.add(data.file);
    yield `${data.file}\n`;
  }
}
