// The dashboard's routes: the page holds no data, the stream holds what is shown, and names that
// clients choose are text, never HTML.

import assert from "node:assert/strict";
import { dashboardData, dashboardPage, VIEWERS_MAX } from "../../../src/admin/dashboard/routes.tsx";
import { tenantView } from "../../support/fake_control.ts";
import { type MovingControl, movingControl } from "../../support/moving_control.ts";

const HOSTILE = `<img src=x onerror="alert(1)">'&`;

/** The first events of a stream, by their name. */
async function firstEvents(response: Response): Promise<Map<string, string>> {
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (!text.includes("event: refusals") || !text.endsWith("\n\n")) {
    const { done, value } = await reader.read();
    if (done) break;
    text += value;
  }
  await reader.cancel();
  const events = text.split("\n\n").filter(Boolean).map((event) => {
    const [, name = "", data = ""] = /^event: (.*)\n?data: ([^]*)$/m.exec(event) ??
      /^data: ([^]*)\nevent: (.*)$/m.exec(event)?.toSpliced(1, 2) ?? [];
    return [name, data.replaceAll(/\ndata: /g, "\n")] as const;
  });
  return new Map(events);
}

async function live(control: MovingControl, query = ""): Promise<Map<string, string>> {
  return await firstEvents(await dashboardData(control).request(`/dashboard/live${query}`));
}

Deno.test("page, style and script hold no data, and forbid whatever is not theirs", async () => {
  const control = movingControl();
  control.shown.tenants = [tenantView("acme")];
  const app = dashboardPage(control);
  for (const path of ["/", "/dashboard/style.css", "/dashboard/client.js"]) {
    const response = await app.request(path);
    assert.equal(response.status, 200, path);
    assert(!(await response.text()).includes("acme"), path);
  }
  const page = await app.request("/");
  assert.match(page.headers.get("content-security-policy")!, /default-src 'none'/);
  assert.match(await page.text(), /^<!DOCTYPE html><html lang="en">.*pgvpd <small>1\.2\.3/s);
});

Deno.test("the stream has every panel", async () => {
  const control = movingControl();
  control.shown.tenants = [tenantView("acme", { connections: 4, isPaused: true })];
  const events = await live(control);
  const names = ["summary", "figures", "tenants", "pools", "backends", "pinned", "refusals"];
  assert.deepEqual([...events.keys()], names);
  assert.match(events.get("summary")!, /transaction pooling/);
  assert.match(events.get("tenants")!, /data-key="acme".*paused.*\/tenants\/acme\/resume/s);
  assert.match(events.get("pools")!, /No pool is in use/);
});

Deno.test("names are text, wherever they stand", async () => {
  const control = movingControl();
  control.shown.tenants = [tenantView(HOSTILE)];
  control.meters.refusals.add({
    ...{ connection: 1, peer: "192.0.2.1:1", user: HOSTILE, sqlState: "28000", reason: HOSTILE },
    at: new Date(),
  });
  const events = await live(control);
  for (const panel of ["tenants", "refusals"]) {
    const html = events.get(panel)!;
    assert(!html.includes("<img"), html);
    assert(html.includes("&lt;img src=x onerror=&quot;alert(1)&quot;&gt;"), html);
  }
  assert(
    events.get("tenants")!.includes(
      `/tenants/${encodeURIComponent(HOSTILE).replace("'", "&#39;")}/deny`,
    ),
  );
});

Deno.test("a search and an order are the viewer's own", async () => {
  const control = movingControl();
  control.shown.tenants = ["acme", "beta"].map((name) => tenantView(name));
  const events = await live(control, "?search=bet&sort=tenant");
  assert(!events.get("tenants")!.includes("acme"));
  assert(events.get("tenants")!.includes("beta"));
});

Deno.test("only so many look at the same time, and who leaves makes room", async () => {
  const app = dashboardData(movingControl(), 10);
  const looking = [];
  for (let index = 0; index < VIEWERS_MAX; index++) {
    const response = await app.request("/dashboard/live");
    const reader = response.body!.getReader();
    await reader.read();
    looking.push(reader);
  }
  const refused = await app.request("/dashboard/live");
  assert.equal(refused.status, 503);
  await refused.body?.cancel();
  await Promise.all(looking.map((reader) => reader.cancel()));
  let status = 503;
  while (status === 503) {
    const again = await app.request("/dashboard/live");
    status = again.status;
    await again.body?.cancel();
  }
  assert.equal(status, 200);
});

Deno.test("a HEAD begins no stream", async () => {
  const app = dashboardData(movingControl(), 10);
  for (let index = 0; index <= VIEWERS_MAX; index++) {
    assert.equal((await app.request("/dashboard/live", { method: "HEAD" })).status, 200);
  }
});

Deno.test("who reads no more loses the place", async () => {
  const app = dashboardData(movingControl(), 10, 20);
  const looking = [];
  for (let index = 0; index < VIEWERS_MAX; index++) {
    looking.push(await app.request("/dashboard/live")); // and nobody reads
  }
  let status = 503;
  while (status === 503) {
    const again = await app.request("/dashboard/live");
    status = again.status;
    await again.body?.cancel();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.equal(status, 200);
  await Promise.all(looking.map((response) => response.body?.cancel()));
});
