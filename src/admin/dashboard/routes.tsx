// The dashboard: one page, and a stream of what it shows. Everything is rendered here; the page
// puts it in its place.

import { Hono } from "hono";
import { type SSEStreamingApi, streamSSE } from "hono/streaming";
import type { Control, TenantView } from "../../control.ts";
import CLIENT from "./client.js" with { type: "text" };
import { tenantQuery } from "./listing.ts";
import { Page } from "./page.tsx";
import { panelsOf, summaryOf, type View } from "./panels.tsx";
import { Samples } from "./samples.ts";
import STYLE from "./style.css" with { type: "text" };

/** What holds no data, so that who has no token yet can be asked for it. */
export const PUBLIC_PATHS: ReadonlySet<string> = new Set([
  "/",
  "/dashboard/style.css",
  "/dashboard/client.js",
]);
const PERIOD_MS = 1_000;
/** Each one costs a page of HTML a second. */
export const VIEWERS_MAX = 20;

/** The page runs its own script, talks to nobody else, and is in nobody's frame. */
const SECURITY_POLICY = [
  ...["default-src 'none'", "style-src 'self'", "script-src 'self'", "connect-src 'self'"],
  ...["img-src data:", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"],
].join("; ");

/** Whoever looks shares one sampler, which rests while nobody does. */
class Watching {
  readonly samples: Samples;
  viewers = 0;
  #timer: ReturnType<typeof setInterval> | undefined;
  #tenants: readonly TenantView[] = [];
  #sampled = Promise.withResolvers<void>();

  constructor(readonly control: Control, private readonly periodMs: number) {
    this.samples = new Samples(control);
  }

  /** Until it is disposed of, samples are taken. */
  begin(): Disposable {
    if (this.viewers++ === 0) {
      this.#take();
      this.#timer = setInterval(() => this.#take(), this.periodMs);
    }
    return {
      [Symbol.dispose]: () => {
        if (--this.viewers === 0) clearInterval(this.#timer);
      },
    };
  }

  get sampled(): Promise<void> {
    return this.#sampled.promise;
  }

  view(parameters: URLSearchParams): View {
    const { control, samples } = this;
    const query = tenantQuery(parameters);
    return { control, samples, tenants: this.#tenants, query, now: new Date() };
  }

  #take(): void {
    this.#tenants = this.samples.take();
    this.#sampled.resolve();
    this.#sampled = Promise.withResolvers();
  }
}

/** The routes of the dashboard. Who may see its data is not decided here. */
export function dashboard(control: Control, periodMs = PERIOD_MS): Hono {
  const watching = new Watching(control, periodMs);
  const app = new Hono();
  app.get("/", (c) => {
    c.header("content-security-policy", SECURITY_POLICY);
    return c.html(`<!DOCTYPE html>${<Page version={control.version} />}`);
  });
  app.get("/dashboard/style.css", (c) => c.body(STYLE, 200, { "content-type": "text/css" }));
  app.get(
    "/dashboard/client.js",
    (c) => c.body(CLIENT, 200, { "content-type": "text/javascript; charset=utf-8" }),
  );
  app.get("/dashboard/live", (c) => {
    if (watching.viewers >= VIEWERS_MAX) {
      return c.json({ error: `${VIEWERS_MAX} are looking at the dashboard already` }, 503);
    }
    const parameters = new URL(c.req.url).searchParams;
    return streamSSE(c, (stream) => show(stream, watching, parameters));
  });
  return app;
}

/** Sends what has changed, until the viewer has gone. */
async function show(
  stream: SSEStreamingApi,
  watching: Watching,
  parameters: URLSearchParams,
): Promise<void> {
  using _watched = watching.begin();
  const gone = new Promise<void>((resolve) => stream.onAbort(resolve));
  const shown = new Map<string, string>();
  while (!stream.aborted && !stream.closed) {
    const { sampled } = watching;
    const view = watching.view(parameters);
    const panels = { summary: summaryOf(view), ...panelsOf(view) };
    for (const [event, panel] of Object.entries(panels)) {
      const data = String(panel);
      if (shown.get(event) === data) continue;
      shown.set(event, data);
      await stream.writeSSE({ event, data });
    }
    await Promise.race([sampled, gone]);
  }
}
