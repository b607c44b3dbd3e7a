import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { LocalLogStore } from "./local_log_store.ts";
import { testLogStore } from "./log_store_contract.ts";

const home = mkdtempSync(join(tmpdir(), "rockpool-log-"));
after(() => rmSync(home, { recursive: true, force: true }));

testLogStore("local", async (folder) => new LocalLogStore(join(home, folder)));
