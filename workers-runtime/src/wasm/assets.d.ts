/** What bundlers and runtimes make of the kernel's file. */
declare module "*.wasm" {
  /** A module in workerd, the name of a file in Bun. */
  const asset: WebAssembly.Module & string;
  // biome-ignore lint/style/noDefaultExport: what runtimes make of it
  export default asset;
}
declare module "*.wasm?module" {
  const module: WebAssembly.Module;
  // biome-ignore lint/style/noDefaultExport: as above
  export default module;
}
declare module "ws" {
  export const WebSocket: new (url: string, protocol: string, options: object) => unknown;
}
