/** Vercel's edge functions compile while they are built. @module */
import module from "./edge.wasm?module";

export const kernel = async () => module;
