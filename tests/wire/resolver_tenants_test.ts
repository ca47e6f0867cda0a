// Resolvers of tenants that have an upstream, settings and a share of their own, in every mode.

import assert from "node:assert/strict";
import { parseTenantsFile } from "../../src/config/tenants_file.ts";
import { type FileContents, type ProxyOptions, WITHOUT_TLS } from "../../src/server.ts";
import { as, MEMBERSHIP, MODES, seenBy, startResolverBench } from "../support/resolver_bench.ts";
import { planOf } from "../support/resolver_plan.ts";
import { APP_PASSWORD, type Bench, eventually, type Front } from "../support/wire_bench.ts";
import { proxyOptions } from "../support/wire_options.ts";

let bench: Bench;
let other: Bench;
Deno.test.beforeAll(async () => {
  [bench, other] = await Promise.all([startResolverBench(), startResolverBench()]);
  await other.admin.run("UPDATE org_members SET org_id = org_id + 10");
  for (const { admin } of [bench, other]) await admin.run("GRANT SELECT ON org_members TO trusty");
});
Deno.test.afterAll(async () => void await Promise.all([bench.stop(), other.stop()]));

const CLEAR = { mode: "disable", direct: false, authorities: null, identity: null } as const;
const RESOLVERS = { false: MEMBERSHIP, true: `${MEMBERSHIP}cache_ttl = 600\n` };

function filesWith(tenants: string, isCached: boolean): FileContents {
  const whole = `${tenants}\n[upstreams.other]\nhost = "127.0.0.1"`;
  const { file, problems } = parseTenantsFile(whole, ["app.current_tenant_id"]);
  assert.deepEqual(problems, []);
  const options = { host: "127.0.0.1", port: other.postgres.port, tls: CLEAR };
  const login = { database: null, user: null, password: APP_PASSWORD };
  const upstreams = new Map([["other", { options, ...login }]]);
  return {
    ...WITHOUT_TLS,
    tenants: { allow: null, deny: null, file, upstreams },
    resolvers: planOf(RESOLVERS[`${isCached}`]),
  };
}

async function org(front: Front, identity: string): Promise<unknown> {
  return (await seenBy(as(front, identity), "app.org_id"))["app.org_id"];
}

for (const mode of MODES) {
  for (const resolverUser of ["resolver", null]) {
    const who = resolverUser === null ? "on the client's connections" : "on their own";
    Deno.test(`${mode}, ${who}: a tenant's resolvers run where its database is`, async () => {
      const settings: Partial<ProxyOptions> = {
        ...{ poolMode: mode, poolPassword: APP_PASSWORD, upstreamPassword: APP_PASSWORD },
        ...{ resolverUser, resolverPassword: resolverUser === null ? null : APP_PASSWORD },
      };
      const options = proxyOptions(bench.postgres.port, settings);
      const moved = '[tenants.alice]\nupstream = "other"\nsettings.work_mem = "123kB"';
      const [here, there] = [filesWith("", true), filesWith(moved, true)];
      await using front = await bench.front(settings, here);
      assert.equal(await org(front, "alice"), "1");
      // What is known of one place is not taken for the other, however often it is asked.
      for (const [files, expected] of [[there, "11"], [here, "1"], [there, "11"]] as const) {
        front.proxy.reload(options, files);
        for (let turn = 0; turn < 3; turn++) {
          assert.equal(await org(front, "alice"), expected);
          assert.equal(await org(front, "bob"), "2");
        }
      }
      const seen = await seenBy(as(front, "alice"), "work_mem", "app.org_id", "app.org_role");
      assert.deepEqual(seen, { work_mem: "123kB", "app.org_id": "11", "app.org_role": "admin" });
    });
  }

  Deno.test(`${mode}: an event on a tenant's own upstream is about that alone`, async () => {
    const settings: Partial<ProxyOptions> = {
      ...{ poolMode: mode, poolPassword: APP_PASSWORD, upstreamPassword: APP_PASSWORD },
      ...{ resolverUser: "resolver", resolverPassword: APP_PASSWORD },
    };
    await using front = await bench.front(
      settings,
      filesWith('[tenants.alice]\nupstream = "other"', true),
    );
    const hits = () => front.proxy.resolverStats.cacheHits;
    await eventually("both places are listened to", async () => {
      const before = hits();
      await org(front, "alice");
      await org(front, "bob");
      return hits() === before + 2;
    });
    await other.admin.run("UPDATE org_members SET org_id = 99 WHERE user_id = 'alice'");
    try {
      await other.admin.run("NOTIFY pgvpd_invalidate, 'org_membership'");
      await eventually("it is asked again", async () => await org(front, "alice") === "99");
      const { executions } = front.proxy.resolverStats;
      const before = executions.get("org_membership");
      await org(front, "bob");
      assert.equal(executions.get("org_membership"), before, "who is elsewhere is known still");
    } finally {
      await other.admin.run("UPDATE org_members SET org_id = 11 WHERE user_id = 'alice'");
    }
  });
}
