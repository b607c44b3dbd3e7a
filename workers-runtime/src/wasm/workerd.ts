/** workerd compiles when the Worker is uploaded, and never while it runs. @module */
import module from "./edge.wasm";

export const kernel = async () => module;
