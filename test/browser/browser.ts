/**
 * A real browser for tests: Chromium without a window, its complaints collected, its screenshots kept.
 * @module
 */
import assert from "node:assert/strict";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";

const CHROMIUM = process.env["CHROMIUM_PATH"] ?? "/usr/bin/chromium";
const SCREENSHOTS = process.env["ROCKPOOL_SCREENSHOTS"] ?? ".ci-output/screenshots";
/** A condition that takes longer on a busy machine never comes. */
export const PATIENCE_MS = 30_000;

/** Why there is no browser; false when there is one. For the `skip` of a test. */
export function missingBrowser(): string | false {
  if (existsSync(CHROMIUM)) return false;
  const text = `!!! SKIPPED: the tests of the web UI need Chromium at ${CHROMIUM} (CHROMIUM_PATH) !!!`;
  assert.notEqual(process.env["ROCKPOOL_REQUIRE_BROWSER"], "1", text);
  console.log(`\n${text}\n`);
  return text;
}

export async function openBrowser(): Promise<Browser> {
  mkdirSync(SCREENSHOTS, { recursive: true });
  return chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-gpu"] });
}

/** A tab that remembers everything the browser complained of. */
export class Tab {
  readonly page: Page;
  readonly complaints: string[] = [];

  private constructor(page: Page) {
    this.page = page;
    page.setDefaultTimeout(PATIENCE_MS);
    page.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning")
        this.complaints.push(`${message.type()}: ${message.text()}`);
    });
    page.on("pageerror", (error) => this.complaints.push(`exception: ${error.message}`));
  }

  static async open(
    browser: Browser,
    options: { readonly colorScheme?: "light" | "dark"; readonly width?: number } = {},
  ): Promise<Tab> {
    const { colorScheme = "light", width = 1280 } = options;
    return new Tab(await browser.newPage({ colorScheme, viewport: { width, height: 860 } }));
  }

  /** Shows a page and waits until its heading and its first data are there. */
  async show(base: string, route: string, heading: string): Promise<void> {
    await this.page.goto(`${base}/#/${route}`);
    await this.page.getByRole("heading", { level: 1, name: heading, exact: true }).waitFor();
    await this.page.locator("main .card").first().waitFor();
  }

  async shot(name: string): Promise<void> {
    await this.page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), fullPage: true });
  }

  async close(): Promise<void> {
    await this.page.close();
  }
}
