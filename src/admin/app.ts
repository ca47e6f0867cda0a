// The admin API as a web application: the guard in front, the routes behind it, errors as JSON.

import { Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { type Control, ControlError } from "../control.ts";
import { logger } from "../log.ts";
import { dashboardData, dashboardPage } from "./dashboard/routes.tsx";
import { type Guard, guarded } from "./guard.ts";
import type { Metrics } from "./metrics.ts";
import { openApi } from "./openapi.ts";
import { ROUTES, type RouteWorld } from "./routes.ts";

/** What a server knows of a request besides what it says. */
export interface AdminEnvironment {
  /** Where it comes from, `192.0.2.7:51234`. */
  readonly peer: string;
}

/** A body holds a few words. */
const BODY_SIZE_MAX = 64 * 1024;
const STATUS_OF = { unknown: 404, conflict: 409, invalid: 400 } as const;

/** @param token whether one is needed, for the name that acts are recorded under. */
export function adminApp(
  control: Control,
  metrics: Metrics,
  guard: Guard,
  token: () => boolean,
): Hono<{ Bindings: AdminEnvironment }> {
  const app = new Hono<{ Bindings: AdminEnvironment }>();
  const world: RouteWorld = {
    control,
    metrics,
    operatorOf: ({ env }) => ({
      name: token() ? "bearer of admin_token" : "anybody",
      from: (env as AdminEnvironment).peer,
      via: "http",
    }),
  };
  app.use(async (context, next) => {
    await next();
    context.header("Cache-Control", "no-store");
    context.header("X-Content-Type-Options", "nosniff");
    if (context.res.headers.has("Content-Security-Policy")) return;
    context.header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'");
  });
  for (const route of ROUTES) {
    if (route.isOpen === true) {
      app[route.method](route.path, (context) => route.answer(context, world));
    }
  }
  app.route("/", dashboardPage(control));
  app.use(guarded(guard));
  app.use(bodyLimit({
    maxSize: BODY_SIZE_MAX,
    onError: (context) => context.json({ error: "the body is too large" }, 413),
  }));
  app.route("/", dashboardData(control));
  for (const route of ROUTES) {
    if (route.isOpen !== true) {
      app[route.method](route.path, (context) => route.answer(context, world));
    }
  }
  app.get("/openapi.json", (context) => context.json(openApi(control.version)));
  app.all("*", (context) => {
    const { path } = context.req;
    const others = ROUTES.filter((route) => pattern(route.path).test(path));
    if (others.length === 0) return context.json({ error: "there is nothing of this name" }, 404);
    context.header("Allow", others.map(({ method }) => method.toUpperCase()).join(", "));
    return context.json({ error: "not with this method" }, 405);
  });
  app.onError((error, context) => {
    if (error instanceof ControlError) {
      return context.json({ error: error.message }, STATUS_OF[error.kind]);
    }
    logger("admin").error("a request could not be answered, which is a bug in pgvpd", {
      path: context.req.path,
      error: error.stack ?? error.message,
    });
    return context.json({ error: "internal error in pgvpd" }, 500);
  });
  return app;
}

function pattern(path: string): RegExp {
  return new RegExp(`^${path.replace(/:\w+/g, "[^/]+")}$`);
}
