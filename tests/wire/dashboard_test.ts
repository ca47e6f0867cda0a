// The dashboard in a real browser, in front of a real pgvpd: tenants appear while traffic flows, a
// button acts, and what it says is what happens. Skipped, loudly, where there is no Chromium.
//
// DASHBOARD_PICTURES=docs/images keeps pictures of it.

import assert from "node:assert/strict";
import { PgvpdProcess } from "../support/process_pgvpd.ts";
import { Bench, eventually } from "../support/wire_bench.ts";
import { PgClient } from "../support/wire_clients.ts";

const CHROMIUM = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"]
  .find((path) => isThere(path));
const PATIENCE_MS = 60_000;
const TOKEN = "a token for the dashboard";
const POOL_PASSWORD = "one for all";
const PICTURES = Deno.env.get("DASHBOARD_PICTURES") ?? null;
/** Not named in deno.json, so that only who has a browser fetches it. */
const PLAYWRIGHT = "npm:playwright-core@1.65.1";

function isThere(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/** The part of Playwright's interface that is used. */
interface Page {
  goto(url: string): Promise<unknown>;
  on(event: "console" | "pageerror", heard: (what: { text?(): string }) => void): void;
  fill(selector: string, text: string): Promise<void>;
  click(selector: string): Promise<void>;
  waitForSelector(selector: string): Promise<unknown>;
  textContent(selector: string): Promise<string | null>;
  screenshot(options: { path: string }): Promise<unknown>;
  setDefaultTimeout(milliseconds: number): void;
}
interface Browser {
  newContext(options: Readonly<Record<string, unknown>>): Promise<{ newPage(): Promise<Page> }>;
  close(): Promise<void>;
}

async function launch(): Promise<Browser> {
  const { chromium } = await import(PLAYWRIGHT);
  return await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
}

const LOOKS = {
  light: { colorScheme: "light", viewport: { width: 1280, height: 1000 } },
  dark: { colorScheme: "dark", viewport: { width: 1280, height: 1000 } },
  phone: { colorScheme: "light", viewport: { width: 390, height: 844 }, isMobile: true },
};

/** A client of a tenant that asks again and again until it is stopped. */
class Busy implements AsyncDisposable {
  answered = 0;
  #isStopped = false;
  readonly #asking: Promise<void>;

  constructor(readonly client: PgClient) {
    this.#asking = this.#ask();
  }

  async #ask(): Promise<void> {
    while (!this.#isStopped) {
      await this.client.run("SELECT count(*), pg_sleep(0.01) FROM tenants");
      this.answered++;
    }
  }

  /** It may be held: what it asks then has no answer. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopped = true;
    await this.client[Symbol.asyncDispose]();
    await this.#asking.catch(() => {});
  }
}

function row(tenant: string, text: string): string {
  return `#tenants tr[data-key="${tenant}"]:has-text("${text}")`;
}

async function press(page: Page, label: string): Promise<void> {
  await page.click(`button[aria-label="${label}"]`);
  await page.click('#confirm button[value="yes"]');
}

/** Nothing may go wrong on a page; what the browser itself says of a 401 is no fault. */
function watchFaults(page: Page): string[] {
  const faults: string[] = [];
  page.on("pageerror", (error) => faults.push(String(error)));
  page.on("console", (message) => {
    const text = message.text?.() ?? "";
    if (/Refused|Content Security|Uncaught/.test(text)) faults.push(text);
  });
  return faults;
}

async function pictures(browser: Browser, url: string, directory: string): Promise<void> {
  for (const [name, look] of Object.entries(LOOKS)) {
    const page = await (await browser.newContext(look)).newPage();
    await page.goto(url);
    await page.fill("#token input", TOKEN);
    await page.click("#token button");
    await page.waitForSelector(row("tenant_a", "Pause"));
    await new Promise((resolve) => setTimeout(resolve, 20_000)); // for lines to be drawn
    await page.screenshot({ path: `${directory}/dashboard-${name}.png` });
  }
}

Deno.test({
  name: "dashboard: tenants appear while traffic flows, and Pause holds one of them",
  ignore: CHROMIUM === undefined,
  // A browser is a process whose pipes end when it likes.
  sanitizeOps: false,
  sanitizeResources: false,
}, async () => {
  const bench = await Bench.start();
  try {
    await using process = await PgvpdProcess.serve([
      ...["--port", "0", "--upstream-port", `${bench.postgres.port}`, "--admin-port", "0"],
      ...["--pool-mode", "transaction", "--pool-size", "2"],
    ], {
      env: {
        PGVPD_ADMIN_TOKEN: TOKEN,
        PGVPD_POOL_PASSWORD: POOL_PASSWORD,
        PGVPD_UPSTREAM_PASSWORD: "not asked for",
      },
    });
    const connect = (tenant: string) =>
      PgClient.connect({
        ...{ port: process.port, user: `trusty.${tenant}`, password: POOL_PASSWORD },
      });
    await assert.rejects(PgClient.connect({ port: process.port, user: "trusty.nosy" }));
    const browser = await launch();
    try {
      await using held = new Busy(await connect("tenant_a"));
      await using free = new Busy(await connect("tenant_b"));
      const url = `http://${(await process.logged("pgvpd is ready"))["admin"]}/`;
      const page = await (await browser.newContext(LOOKS.light)).newPage();
      page.setDefaultTimeout(PATIENCE_MS);
      const faults = watchFaults(page);
      await page.goto(url);
      await page.fill("#token input", TOKEN);
      await page.click("#token button");
      await page.waitForSelector(row("tenant_a", "Pause"));
      await page.waitForSelector(row("tenant_b", "Pause"));
      assert.match(await page.textContent("#pools") ?? "", /pgvpd_test\s*trusty/);
      assert.match(await page.textContent("#refusals") ?? "", /trusty\.nosy28P01/);

      await press(page, "Pause tenant_a?");
      await page.waitForSelector(row("tenant_a", "paused"));
      await page.waitForSelector('#said:has-text("Done: Pause tenant_a")');
      // What had begun when it was paused ends still.
      const answered = held.answered + 1;
      const others = free.answered;
      await eventually("others go on", () => free.answered > others + 20, PATIENCE_MS);
      assert(held.answered <= answered, "a paused tenant was answered");

      await press(page, "Resume tenant_a?");
      await eventually("it goes on", () => held.answered > answered + 5, PATIENCE_MS);
      await page.fill("#search input", "tenant_b");
      await page.waitForSelector('#tenants:not(:has(tr[data-key="tenant_a"]))');
      assert.deepEqual(faults, []);
      if (PICTURES !== null) await pictures(browser, url, PICTURES);
    } finally {
      await browser.close();
    }
  } finally {
    await bench.stop();
  }
});

if (CHROMIUM === undefined) {
  Deno.test({ name: "dashboard: NOT TESTED, no Chromium is installed", ignore: true, fn() {} });
}
