// What the admin API describes is what there is.

import { strict as assert } from "node:assert";
import { openApi } from "../../src/admin/openapi.ts";
import { ROUTES } from "../../src/admin/routes.ts";
import { adminWorld } from "../support/admin_world.ts";

Deno.test("the description is of the routes that there are, and of no others", async () => {
  const { ask } = adminWorld();
  const { json } = await ask("GET /openapi.json");
  assert.deepEqual(json, openApi("1.2.3"));
  const described = Object.entries(json.paths as Record<string, Record<string, unknown>>)
    .flatMap(([path, methods]) => Object.keys(methods).map((method) => `${method} ${path}`));
  const served = ROUTES.map(({ method, path }) => `${method} ${path.replace(/:(\w+)/g, "{$1}")}`);
  assert.deepEqual(described.sort(), served.sort());
  for (const route of ROUTES) {
    const inPath = [...route.path.matchAll(/:(\w+)/g)].map(([, name]) => name);
    const told = (route.parameters ?? []).filter((one) => one.in === "path").map(({ name }) =>
      name
    );
    assert.deepEqual(told, inPath, route.path);
  }
});
