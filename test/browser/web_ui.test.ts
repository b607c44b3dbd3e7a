/**
 * The web UI in a real browser, against a real cluster: every page of master and worker, files in and out, a change of leader by
 * click and one by kill -9 while a page is open, keyboard, light and dark.
 * @module
 */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Browser } from "playwright-core";
import { LocalCluster } from "../process/local_cluster.ts";
import { missingBrowser, openBrowser, PATIENCE_MS, Tab } from "./browser.ts";

const skip = missingBrowser();
/** A name that would run, if anything put it into a page as anything but text. */
const EVIL = "<img src=x onerror=document.title='pwned'>.txt";
const MASTER_PAGES = [
  ["overview", "Overview"],
  ["browse", "Browse"],
  ["data", "In-Alluxio data"],
  ["workers", "Workers"],
  ["masters", "Masters"],
  ["raft", "Raft"],
  ["mounts", "Mounts"],
  ["configuration", "Configuration"],
  ["logs", "Logs"],
  ["metrics", "Metrics"],
] as const;
const WORKER_PAGES = [
  ["overview", "Overview"],
  ["blocks", "Blocks"],
  ["configuration", "Configuration"],
  ["logs", "Logs"],
  ["metrics", "Metrics"],
] as const;

/** All of them in the light; in the dark those that differ in more than colours of tables. */
const DARK_PAGES = ["overview", "browse", "raft", "metrics"];
type Pages = readonly (readonly [string, string])[];
const pagesIn = (pages: Pages, colorScheme: "light" | "dark"): Pages =>
  colorScheme === "light" ? pages : pages.filter(([route]) => DARK_PAGES.includes(route));

let cluster: LocalCluster;
let browser: Browser;
let folder: string;

const webOf = (kind: "master" | "worker", number: number) =>
  `http://localhost:${cluster.node(kind, number).webPort}`;
const leaderWeb = async () => webOf("master", await cluster.leader());
const standbyOf = (leader: number) => (leader === 1 ? 2 : 1);

before(async () => {
  if (skip !== false) return;
  [cluster, browser] = await Promise.all([
    LocalCluster.start({ masters: 3, workers: 1 }),
    openBrowser(),
  ]);
  folder = await mkdtemp(join(tmpdir(), "rockpool-web-"));
  const local = join(folder, "text");
  await writeFile(local, "line one\nline two\n");
  for (const name of ["/books", "/empty"])
    assert.equal((await cluster.cli("fs", "mkdir", name)).exit, 0);
  for (const name of ["plain.txt", EVIL]) {
    const { exit, stderr } = await cluster.cli("fs", "copyFromLocal", local, `/books/${name}`);
    assert.equal(exit, 0, stderr);
  }
});

after(async () => {
  if (skip !== false) return;
  await browser.close();
  await cluster.stop();
  await rm(folder, { recursive: true, force: true });
});

test("S0-34 S0-32 every page of the leading master shows its data, and nothing complains", {
  skip,
}, async () => {
  const base = await leaderWeb();
  for (const colorScheme of ["light", "dark"] as const) {
    const tab = await Tab.open(browser, { colorScheme });
    for (const [route, heading] of pagesIn(MASTER_PAGES, colorScheme)) {
      await tab.show(base, route, heading);
      assert.equal(await tab.page.locator(".notice.bad").count(), 0, `${heading}: no bad news`);
      await tab.shot(`master-${route}-${colorScheme}`);
    }
    assert.deepEqual(tab.complaints, []);
    await tab.close();
  }
});

test("S0-66.5 the pages say what is so: members, workers, mounts, properties with their sources, logs", {
  skip,
}, async () => {
  const tab = await Tab.open(browser);
  const base = await leaderWeb();
  const { page } = tab;
  await tab.show(base, "masters", "Masters");
  assert.equal(await page.getByRole("heading", { name: "Primary (1)" }).count(), 1);
  await page.getByRole("heading", { name: "Standby (2)" }).waitFor();
  await tab.show(base, "workers", "Workers");
  await page.getByRole("heading", { name: "Live (1)" }).waitFor();
  await tab.show(base, "mounts", "Mounts");
  await page.getByText("underFSStorage").waitFor();
  await tab.show(base, "configuration", "Configuration");
  await page.getByRole("searchbox", { name: "Filter" }).fill("master.web.port");
  const row = page.getByRole("row").filter({ hasText: "alluxio.master.web.port" });
  await row.getByText("site property").waitFor();
  await row.getByText("alluxio-site.properties", { exact: false }).waitFor();
  const number = await cluster.leader();
  await tab.show(base, `logs?path=master-${number}.log`, "Logs");
  await page.locator(".log", { hasText: "this master leads" }).waitFor();
  await tab.show(base, "data", "In-Alluxio data");
  await page.getByText("/books/plain.txt").waitFor();
  assert.deepEqual(tab.complaints, []);
  await tab.close();
});

test("names and contents of files are text and nothing else", { skip }, async () => {
  const tab = await Tab.open(browser);
  const base = await leaderWeb();
  await tab.show(base, `browse?path=${encodeURIComponent("/books")}`, "Browse");
  await tab.page.getByRole("link", { name: EVIL }).click();
  await tab.page.locator(".content", { hasText: "line two" }).waitFor();
  assert.match(await tab.page.title(), /Rockpool/);
  assert.equal(await tab.page.locator("main img").count(), 0);
  await tab.page.getByText("hex", { exact: true }).click();
  await tab.page.locator(".content", { hasText: "6c 69 6e 65 20 6f 6e 65" }).waitFor();
  await tab.page.getByRole("heading", { name: "Blocks (1)" }).waitFor();
  await tab.page.getByRole("row").filter({ hasText: "MEM" }).waitFor();
  await tab.shot("master-file-hex-light");
  assert.deepEqual(tab.complaints, []);
  await tab.close();
});

test("a file goes in by upload and out by download, the same to the byte", { skip }, async () => {
  const tab = await Tab.open(browser);
  const { page } = tab;
  const bytes = Uint8Array.from({ length: 3_000_001 }, (_, at) => (at * 31 + (at >> 8)) & 255);
  await writeFile(join(folder, "numbers.bin"), bytes);
  await tab.show(await leaderWeb(), "browse?path=%2Fempty", "Browse");
  await page.locator("input[type=file]").setInputFiles(join(folder, "numbers.bin"));
  await page.getByText("/empty/numbers.bin is there.").waitFor();
  await page.getByRole("link", { name: "numbers.bin", exact: true }).click();
  const downloading = page.waitForEvent("download");
  await page.getByRole("link", { name: "Download" }).click();
  const download = await downloading;
  assert.equal(download.suggestedFilename(), "numbers.bin");
  assert.deepEqual(new Uint8Array(await readFile(await download.path())), bytes);
  assert.deepEqual(tab.complaints, []);
  await tab.close();
});

test("everything is reached by keyboard, and the focus is seen", { skip }, async () => {
  const tab = await Tab.open(browser);
  const { page } = tab;
  await tab.show(await leaderWeb(), "overview", "Overview");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate("document.activeElement.className"), "skip");
  await tab.shot("keyboard-skip-link");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate("document.activeElement.id"), "content");
  await page.waitForURL(/#\/overview$/);
  // Back to the navigation, and on by it.
  const browse = page
    .getByRole("navigation", { name: "Pages" })
    .getByRole("link", { name: "Browse" });
  await browse.focus();
  await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("Tab");
  const outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle");
  assert.notEqual(outline, "none");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: "Browse" }).waitFor();
  const unnamed = await page.evaluate(
    `[...document.querySelectorAll("a,button,input,select")].filter((element) =>
       !(element.textContent.trim() || element.labels?.[0]?.textContent.trim() || element.ariaLabel)).length`,
  );
  assert.equal(unnamed, 0);
  await tab.close();
});

test("light and dark follow the system until the user chooses, and the choice stays", {
  skip,
}, async () => {
  const tab = await Tab.open(browser, { colorScheme: "dark" });
  const { page } = tab;
  const back = () => page.evaluate("getComputedStyle(document.body).backgroundColor");
  await tab.show(await leaderWeb(), "overview", "Overview");
  const dark = await back();
  await page.getByText("light", { exact: true }).click();
  await cluster.until("the colours change", async () => (await back()) !== dark);
  const light = await back();
  await page.reload();
  await page.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
  await cluster.until("the choice is in force", async () => (await back()) === light);
  await tab.close();
});

test("every page of a worker shows its data, and nothing complains", { skip }, async () => {
  for (const colorScheme of ["light", "dark"] as const) {
    const tab = await Tab.open(browser, { colorScheme });
    for (const [route, heading] of pagesIn(WORKER_PAGES, colorScheme)) {
      await tab.show(webOf("worker", 1), route, heading);
      if (route === "blocks") await tab.page.getByText("/books/plain.txt").waitFor();
      await tab.shot(`worker-${route}-${colorScheme}`);
    }
    assert.deepEqual(tab.complaints, []);
    await tab.close();
  }
});

test("S0-4 S0-32 a standby shows its own state, and links to the leader for the rest", {
  skip,
}, async () => {
  const leader = await cluster.leader();
  const tab = await Tab.open(browser);
  const { page } = tab;
  const standby = webOf("master", standbyOf(leader));
  await tab.show(standby, "overview", "Overview");
  await page.getByText("This master is a standby").waitFor();
  await tab.shot("standby-overview-light");
  await page.goto(`${standby}/#/browse?path=%2Fbooks`);
  await page.getByRole("link", { name: /Open it on the leader/ }).click();
  await page.getByText("plain.txt").waitFor();
  assert.ok(page.url().startsWith(webOf("master", leader)), page.url());
  await tab.close();
});

test("a narrow window shows everything, without scrolling sideways", { skip }, async () => {
  const tab = await Tab.open(browser, { width: 400 });
  for (const route of ["overview", "raft", "metrics"] as const) {
    await tab.page.goto(`${await leaderWeb()}/#/${route}`);
    await tab.page.locator("main .card").first().waitFor();
    const width = await tab.page.evaluate("document.documentElement.scrollWidth");
    assert.ok(Number(width) <= 400, `${route} is ${width} wide`);
    await tab.shot(`narrow-${route}`);
  }
  await tab.close();
});

test("one click and a confirmation change the leader, and the page tells how long it took", {
  skip,
}, async () => {
  const leader = await cluster.leader();
  const tab = await Tab.open(browser);
  const { page } = tab;
  await tab.show(webOf("master", leader), "raft", "Raft");
  const heir = standbyOf(leader);
  const peer = page.getByRole("article", { name: `Master ${cluster.journalAddress(heir)}` });
  await peer.getByRole("button", { name: "Make it the leader" }).click();
  await page.getByRole("dialog").getByText("becomes the leader").waitFor();
  await tab.shot("elect-confirm");
  // Escape does nothing but close it.
  await page.keyboard.press("Escape");
  assert.equal(await cluster.leader(), leader);
  await peer.getByRole("button", { name: "Make it the leader" }).click();
  await page.getByRole("button", { name: "Hand over" }).click();
  await page.getByText("leads now.").waitFor();
  assert.equal(await cluster.leader(), heir);
  await tab.show(webOf("master", heir), "raft", "Raft");
  await page.locator(".anatomy").waitFor();
  await tab.shot("raft-after-election");
  assert.deepEqual(tab.complaints, []);
  await tab.close();
});

test("the leader is killed with a page open: the page goes on at the next one within seconds", {
  skip,
}, async () => {
  const leader = await cluster.leader();
  const tab = await Tab.open(browser);
  const { page } = tab;
  await tab.show(webOf("master", leader), "raft", "Raft");
  const killedMs = performance.now();
  cluster.kill("master", leader, "SIGKILL");
  await page.waitForURL((url) => !url.href.startsWith(webOf("master", leader)), {
    timeout: PATIENCE_MS,
  });
  await page.getByText("unreachable").waitFor();
  const tookMs = performance.now() - killedMs;
  const next = await cluster.leader();
  assert.ok(page.url().startsWith(webOf("master", next)), page.url());
  assert.match(page.url(), /#\/raft$/);
  await page.locator(".anatomy").waitFor();
  await page.getByText("silence", { exact: false }).first().waitFor();
  await tab.shot("raft-after-kill");
  console.log(`The page was at the next leader ${Math.round(tookMs)} ms after kill -9`);
  await cluster.startProcess("master", leader);
  await page.getByText("unreachable").waitFor({ state: "detached" });
  await tab.close();
});
