/**
 * What esbuild's `binary` loader makes of a `.wasm` file (its bytes), and the part of WebAssembly's own
 * interface that we use: TypeScript has it only together with the whole DOM.
 * @module
 */
declare module "*.wasm" {
  const bytes: Uint8Array<ArrayBuffer>;

  // biome-ignore lint/style/noDefaultExport: esbuild makes the bytes the default export
  export { bytes as default };
}

declare namespace WebAssembly {
  class Module {
    constructor(bytes: Uint8Array<ArrayBuffer>);
    static imports(module: Module): { module: string; name: string; kind: string }[];
  }
  class Instance {
    constructor(module: Module, imports: { readonly env: { readonly memory: Memory } });
    readonly exports: Readonly<Record<string, unknown>>;
  }
  class Memory {
    /** In pages of 64 KiB. @throws RangeError or TypeError when there is not that much */
    constructor(limits: { readonly initial: number; readonly maximum: number });
    readonly buffer: ArrayBuffer;
  }
}
