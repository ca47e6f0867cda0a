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

const PERIOD_MS = 1_000;
/** A viewer who has not read a page for so long has no place any more. */
const PATIENCE_MS = 30_000;
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

/** The page and what it needs. It holds no data, so that it can ask for the token. */
export function dashboardPage(control: Control): Hono {
  const app = new Hono();
  app.get("/", (context) => {
    context.header("Content-Security-Policy", SECURITY_POLICY);
    return context.html(`<!DOCTYPE html>${<Page version={control.version} />}`);
  });
  const asset = (path: string, text: string, type: string) =>
    app.get(path, (context) => context.body(text, 200, { "Content-Type": type }));
  asset("/dashboard/style.css", STYLE, "text/css; charset=utf-8");
  asset("/dashboard/client.js", CLIENT, "text/javascript; charset=utf-8");
  return app;
}

/** The stream. Who may see it is not decided here. */
export function dashboardData(
  control: Control,
  periodMs = PERIOD_MS,
  patienceMs = PATIENCE_MS,
): Hono {
  const watching = new Watching(control, periodMs);
  const app = new Hono();
  app.get("/dashboard/live", (context) => {
    if (context.req.method === "HEAD") return context.body(null); // nobody would read the stream
    if (watching.viewers >= VIEWERS_MAX) {
      const error = `${VIEWERS_MAX} are looking at the dashboard already`;
      return context.json({ error }, 503);
    }
    const parameters = new URL(context.req.url).searchParams;
    return streamSSE(context, (stream) => show(stream, watching, parameters, patienceMs));
  });
  return app;
}

/** Sends what has changed, until the viewer has gone, or reads no more. */
async function show(
  stream: SSEStreamingApi,
  watching: Watching,
  parameters: URLSearchParams,
  patienceMs: number,
): Promise<void> {
  using _watched = watching.begin();
  let wake = () => {};
  stream.onAbort(() => wake());
  // A lifelong promise in each race would remember all of them.
  const whileThere = (something: Promise<unknown>) =>
    new Promise<void>((resolve) => {
      wake = resolve;
      void something.then(() => resolve(), () => resolve());
    });
  const shown = new Map<string, string>();
  while (!stream.aborted && !stream.closed) {
    const { sampled } = watching;
    const view = watching.view(parameters);
    const panels = { summary: summaryOf(view), ...panelsOf(view) };
    const impatience = setTimeout(() => stream.abort(), patienceMs);
    for (const [event, panel] of Object.entries(panels)) {
      const data = String(panel);
      if (stream.aborted || shown.get(event) === data) continue;
      shown.set(event, data);
      await whileThere(stream.writeSSE({ event, data }));
    }
    clearTimeout(impatience);
    if (!stream.aborted) await whileThere(sampled);
  }
}
