// The description of the admin API, made from its table of routes.
// https://spec.openapis.org/oas/v3.1.0

import { type Route, ROUTES } from "./routes.ts";

const MEANINGS: Readonly<Record<number, string>> = {
  400: "What was sent makes no sense.",
  401: "The token is missing, or is wrong.",
  403: "A web page of another site may not ask.",
  404: "There is no such thing.",
  409: "It cannot be done as things stand.",
  413: "The body is too large.",
  421: "The host name is not known to be pgvpd's.",
  429: "Too many wrong tokens.",
  503: "Not ready.",
};

/** The document, as JSON. */
export function openApi(version: string): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of ROUTES) {
    const path = route.path.replace(/:(\w+)/g, "{$1}");
    paths[path] = { ...paths[path], [route.method]: operation(route) };
  }
  return {
    openapi: "3.1.0",
    info: { title: "pgvpd", version, description: "What operators see of a proxy, and do." },
    components: { securitySchemes: { token: { type: "http", scheme: "bearer" } } },
    paths,
  };
}

function operation({ summary, parameters, body, isOpen, failures, path }: Route) {
  const refusals = isOpen === true
    ? []
    : [401, 403, ...(body === undefined ? [] : [413]), 421, 429];
  const responses = [200, ...failures ?? [], ...refusals].map((status) => [
    status,
    { description: MEANINGS[status] ?? "Done.", content: { [mediaTypeOf(path, status)]: {} } },
  ]);
  return {
    summary,
    ...(isOpen === true ? {} : { security: [{ token: [] }] }),
    ...(parameters === undefined ? {} : { parameters: parameters.map(parameterOf) }),
    ...(body === undefined ? {} : {
      requestBody: {
        content: { "application/json": { schema: { type: "object", properties: body } } },
      },
    }),
    responses: Object.fromEntries(responses),
  };
}

function parameterOf(
  { name, in: place, type, description }: NonNullable<Route["parameters"]>[number],
) {
  return { name, in: place, required: place === "path", description, schema: { type } };
}

function mediaTypeOf(path: string, status: number): string {
  return path === "/metrics" && status === 200 ? "text/plain" : "application/json";
}
