// OpenTelemetry: a span for each login reaches the collector, when somebody wants it.

import assert from "node:assert/strict";
import { PgvpdProcess } from "../support/process_pgvpd.ts";
import { Bench, eventually, failure } from "../support/wire_bench.ts";
import { PgClient } from "../support/wire_clients.ts";

interface OtlpValue {
  readonly stringValue?: string;
  readonly boolValue?: boolean;
}

interface OtlpSpan {
  readonly name: string;
  readonly attributes: readonly { readonly key: string; readonly value: OtlpValue }[];
  readonly status?: { readonly code?: number; readonly message?: string };
}

Deno.test("logins are spans, and nothing of the context is in them", async () => {
  const bench = await Bench.start();
  const spans: OtlpSpan[] = [];
  let text = "";
  const collector = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async (request) => {
      const body = await request.text();
      text += body;
      const { resourceSpans = [] } = JSON.parse(body);
      for (const { scopeSpans } of resourceSpans) {
        for (const scope of scopeSpans) spans.push(...scope.spans);
      }
      return Response.json({});
    },
  );
  try {
    const args = ["--port", "0", "--upstream-port", `${bench.postgres.port}`];
    const env = {
      OTEL_DENO: "true",
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${collector.addr.port}`,
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
      OTEL_BSP_SCHEDULE_DELAY: "100",
    };
    const more = ["--context", "app.a,app.b", "--tenant-key", "first"];
    await using process = await PgvpdProcess.serve([...args, ...more], { env });
    const connect = (user: string) =>
      PgClient.connect({ port: process.port, user, password: "testpass" });
    await (await connect("app_user.tenant_a:hidden"))[Symbol.asyncDispose]();
    await failure(connect("app_user.only_one_value"));
    await eventually("both are there", () => spans.length >= 2);
    const shown = spans.map(({ name, attributes, status }) => {
      const values = new Map(attributes.map(({ key, value }) => [key, value]));
      const of = (key: string) => values.get(key)?.stringValue;
      return [name, of("pgvpd.result"), of("tenant.id"), of("pgvpd.method"), status?.code ?? 0];
    });
    assert.deepEqual(shown, [
      ["pgvpd.login", "accepted", "tenant_a", "scram", 0],
      ["pgvpd.login", "refused", undefined, undefined, 2],
    ]);
    assert(!text.includes("hidden"));
  } finally {
    await collector.shutdown();
    await bench.stop();
  }
});
