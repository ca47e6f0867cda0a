// The routes of the admin API: one table, from which the server and its description are made.

import type { Context } from "hono";
import {
  type Control,
  ControlError,
  type LogLevelName,
  type Operator,
  type TenantView,
} from "../control.ts";
import type { Metrics } from "./metrics.ts";
import { statusOf } from "./status.ts";

/** What routes are answered with. */
export interface RouteWorld {
  readonly control: Control;
  readonly metrics: Metrics;
  readonly operatorOf: (context: Context) => Operator;
}

/** One parameter of a query or a path. */
export interface Parameter {
  readonly name: string;
  readonly in: "query" | "path";
  readonly type: "string" | "integer";
  readonly description: string;
}

/** One route. */
export interface Route {
  readonly method: "get" | "post";
  /** As Hono writes it: `/tenants/:tenant`. */
  readonly path: string;
  readonly summary: string;
  readonly parameters?: readonly Parameter[];
  /** Properties of the JSON body, with what they are. */
  readonly body?: Readonly<Record<string, { readonly type: string; readonly description: string }>>;
  /** Needs no token. */
  readonly isOpen?: true;
  /** Besides 200, and besides what the guard says. */
  readonly failures?: readonly (400 | 404 | 409 | 503)[];
  answer(context: Context, world: RouteWorld): Response | Promise<Response>;
}

/** Rows of a list that are sent unless another number is asked for, and at most. */
const ROWS = 100;
const ROWS_MAX = 10_000;
const LEVELS: readonly LogLevelName[] = ["debug", "info", "warn", "error"];

const TENANT: Parameter = {
  ...{ name: "tenant", in: "path", type: "string" },
  description: "The tenant, as lists and limits know it; URL encoded.",
};
const PAGE: readonly Parameter[] = [
  { name: "limit", in: "query", type: "integer", description: `Rows, ${ROWS} unless it is given.` },
  { name: "offset", in: "query", type: "integer", description: "Rows that are left out before." },
  { name: "search", in: "query", type: "string", description: "Part of the tenant's name." },
];
const SORT: Parameter = {
  ...{ name: "sort", in: "query", type: "string" },
  description: "tenant, connections, waiting, queries, transactions, or bytes (most first).",
};

const LOOKS: readonly Route[] = [
  {
    ...{ method: "get", path: "/health", isOpen: true, summary: "Whether the process runs." },
    answer: (context) => context.json({ status: "ok" }),
  },
  {
    ...{ method: "get", path: "/ready", isOpen: true, failures: [503] },
    summary: "Whether clients are taken: it listens, PostgreSQL answers, and it is not draining.",
    answer: async (context, { control }) => {
      const readiness = await control.readiness();
      const isReady = readiness.listening && readiness.upstream && !readiness.draining;
      const status = isReady ? "ready" : "not ready";
      return context.json({ status, ...readiness }, isReady ? 200 : 503);
    },
  },
  {
    ...{ method: "get", path: "/metrics", summary: "Metrics in the text format of Prometheus." },
    answer: (context, { metrics }) =>
      context.body(metrics.text(), 200, { "Content-Type": metrics.contentType }),
  },
  {
    ...{ method: "get", path: "/status", summary: "Numbers of the whole." },
    answer: (context, { control }) => context.json(statusOf(control)),
  },
  {
    ...{ method: "get", path: "/tenants", parameters: [...PAGE, SORT], failures: [400] },
    summary: "Tenants that are here or were, with what they have moved.",
    answer: (context, { control }) =>
      page(context, control.tenants().sort(orderOf(context.req.query("sort")))),
  },
  {
    ...{ method: "get", path: "/tenants/:tenant", parameters: [TENANT], failures: [404] },
    summary: "One tenant, with its clients.",
    answer: (context, { control }) => {
      const tenant = tenantOf(context);
      const view = control.tenant(tenant);
      if (view === null) throw new ControlError("unknown", "nothing is known of this tenant");
      const clients = control.clients().filter((client) => client.tenant === tenant);
      return context.json({ ...view, clients: clients.slice(0, ROWS_MAX) });
    },
  },
  {
    ...{ method: "get", path: "/clients", parameters: PAGE, failures: [400] },
    summary: "Clients that are connected.",
    answer: (context, { control }) => page(context, control.clients()),
  },
  {
    ...{ method: "get", path: "/pools", summary: "The pools there are now." },
    answer: (context, { control }) => context.json({ rows: control.pools() }),
  },
  {
    ...{ method: "get", path: "/backends", parameters: PAGE, failures: [400] },
    summary: "Server connections, and what holds them.",
    answer: (context, { control }) => page(context, control.backends()),
  },
];

const TENANT_ACTS: readonly Route[] = [
  tenantAct(
    "disconnect",
    "Ends its sessions, and cancels what runs for them.",
    [],
    (c, t, by) => c.disconnectTenant(t, by),
  ),
  tenantAct(
    "pause",
    "Holds its new transactions until it is resumed.",
    [409],
    (c, t, by) => c.pause(t, by),
  ),
  tenantAct("resume", "Lets them go.", [409], (c, t, by) => c.resume(t, by)),
  tenantAct("deny", "Ends its sessions and lets it connect no more, until the process ends.", [
    409,
  ], (c, t, by) => c.deny(t, by)),
  tenantAct("allow", "Takes deny back.", [409], (c, t, by) => {
    c.allow(t, by);
    return 0;
  }),
];

const ACTS: readonly Route[] = [
  {
    ...{ method: "post", path: "/clients/:id/disconnect", failures: [400, 404] },
    summary: "Ends one client, and cancels what runs for it.",
    parameters: [{ name: "id", in: "path", type: "integer", description: "Its number." }],
    answer: (context, { control, operatorOf }) => {
      const id = wholeNumber(context.req.param("id"), "id");
      control.disconnectClient(id, operatorOf(context));
      return context.json({ done: true });
    },
  },
  {
    ...{ method: "post", path: "/pools/:id/drain", failures: [404] },
    summary: "Has its connections replaced: idle ones now, the others as they come back.",
    parameters: [{ name: "id", in: "path", type: "string", description: "As GET /pools has it." }],
    answer: (context, { control, operatorOf }) => {
      const id = context.req.param("id")!;
      return context.json({ id, connections: control.drainPool(id, operatorOf(context)) });
    },
  },
  {
    ...{ method: "post", path: "/resolvers/invalidate", failures: [400, 404] },
    summary: "Forgets answers of resolvers, and has contexts derived anew.",
    body: {
      resolver: { type: "string", description: "Its name; left out: every resolver." },
      inputs: { type: "array", description: "The inputs it was asked with; left out: all." },
    },
    answer: async (context, { control, operatorOf }) => {
      const { resolver = null, inputs = null } = await bodyOf(context);
      if (resolver !== null && typeof resolver !== "string") throw invalid("resolver is a name");
      const isList = Array.isArray(inputs) && inputs.every((each) => typeof each === "string");
      if (inputs !== null && !isList) throw invalid("inputs is a list of texts");
      const order = { resolver, inputs: inputs as string[] | null };
      control.invalidateResolvers(order, operatorOf(context));
      return context.json({ done: true });
    },
  },
  {
    ...{ method: "post", path: "/reload", failures: [409] },
    summary: "Reads the configuration and its files again, as SIGHUP does.",
    answer: (context, { control, operatorOf }) => {
      const result = control.reload(operatorOf(context));
      return context.json(result, result.problems.length === 0 ? 200 : 409);
    },
  },
  {
    ...{ method: "post", path: "/drain" },
    summary: "Takes no more clients and ends when they have gone, as SIGTERM does.",
    answer: (context, { control, operatorOf }) => {
      control.drain(operatorOf(context));
      return context.json({ done: true });
    },
  },
  {
    ...{ method: "post", path: "/log-level", failures: [400] },
    summary: "Changes the level of the log until the next reload.",
    body: { level: { type: "string", description: LEVELS.join(", ") } },
    answer: async (context, { control, operatorOf }) => {
      const { level: given } = await bodyOf(context);
      const level = LEVELS.find((each) => each === given);
      if (level === undefined) throw invalid(`level is one of ${LEVELS.join(", ")}`);
      control.setLogLevel(level, operatorOf(context));
      return context.json({ level });
    },
  },
];

/** Every route but that of the description itself. */
export const ROUTES: readonly Route[] = [...LOOKS, ...TENANT_ACTS, ...ACTS];

function tenantAct(
  act: string,
  summary: string,
  failures: Route["failures"] & object,
  run: (control: Control, tenant: string, by: Operator) => number,
): Route {
  return {
    ...{ method: "post", path: `/tenants/:tenant/${act}`, summary, failures },
    parameters: [TENANT],
    answer: (context, { control, operatorOf }) => {
      const tenant = tenantOf(context);
      return context.json({ tenant, sessions: run(control, tenant, operatorOf(context)) });
    },
  };
}

function tenantOf(context: Context): string {
  return context.req.param("tenant")!;
}

function invalid(message: string): ControlError {
  return new ControlError("invalid", message);
}

function wholeNumber(text: string | undefined, name: string): number {
  const value = /^\d{1,15}$/.test(text ?? "") ? Number(text) : NaN;
  if (Number.isNaN(value)) throw invalid(`${name} is a whole number`);
  return value;
}

/** The rows that were asked for, and how many there are. */
function page(context: Context, rows: readonly { readonly tenant: string | null }[]): Response {
  const { limit = String(ROWS), offset = "0", search = "" } = context.req.query();
  const [count, from] = [wholeNumber(limit, "limit"), wholeNumber(offset, "offset")];
  const found = search === "" ? rows : rows.filter(({ tenant }) => tenant?.includes(search));
  const end = from + Math.min(count, ROWS_MAX);
  return context.json({ total: found.length, rows: found.slice(from, end) });
}

function orderOf(sort = "tenant"): (a: TenantView, b: TenantView) => number {
  switch (sort) {
    case "tenant":
      return (a, b) => a.tenant < b.tenant ? -1 : a.tenant > b.tenant ? 1 : 0;
    case "bytes":
      return (a, b) => b.bytesIn + b.bytesOut - a.bytesIn - a.bytesOut;
    case "connections":
    case "waiting":
    case "queries":
    case "transactions":
      return (a, b) => b[sort] - a[sort];
  }
  throw invalid("sort is tenant, connections, waiting, queries, transactions or bytes");
}

/** An object; nothing is an empty one. */
async function bodyOf(context: Context): Promise<Record<string, unknown>> {
  const text = await context.req.text();
  if (text === "") return {};
  let body: unknown = null;
  try {
    body = JSON.parse(text);
  } catch {
    // it is told below
  }
  if (typeof body === "object" && body !== null && !Array.isArray(body)) {
    return body as Record<string, unknown>;
  }
  throw invalid("the body is a JSON object");
}
