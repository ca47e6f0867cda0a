// OpenTelemetry: spans of logins and a few metrics, through whatever Deno itself exports to.
// Nothing of it is loaded unless OTEL_DENO=true. https://docs.deno.com/runtime/fundamentals/open_telemetry/

import type { Attributes, Tracer } from "@opentelemetry/api";
import type { Control } from "../control.ts";
import type { LoginRecord, SessionObserver } from "../session/records.ts";

const NAME = "pgvpd";

/** OTEL_DENO, unless Deno's permissions keep it from being read. */
function isWanted(): boolean {
  const variable = "OTEL_DENO";
  const { state } = Deno.permissions.querySync({ name: "env", variable });
  return state === "granted" && Deno.env.get(variable) === "true";
}

/** Null when nobody wants it. */
export async function loadTelemetry(control: Control): Promise<SessionObserver | null> {
  if (!isWanted()) return null;
  const { metrics, SpanStatusCode, trace } = await import("@opentelemetry/api");
  const meter = metrics.getMeter(NAME, control.version);
  const connections = meter.createObservableGauge("pgvpd.connections", {
    description: "Clients connected now.",
  });
  const transactions = meter.createObservableCounter("pgvpd.transactions", {
    description: "Transactions that were served.",
  });
  const queries = meter.createObservableCounter("pgvpd.queries", {
    description: "Statements, or batches of them, that were answered.",
  });
  meter.addBatchObservableCallback((result) => {
    const { connectionsActive, traffic } = control.totals();
    result.observe(connections, connectionsActive);
    result.observe(transactions, traffic.transactions);
    result.observe(queries, traffic.queries);
  }, [connections, transactions, queries]);
  return new LoginSpans(trace.getTracer(NAME, control.version), SpanStatusCode.ERROR);
}

/** One span for each login, made when it has ended: who it was, and not what it may see. */
class LoginSpans implements SessionObserver {
  constructor(private readonly tracer: Tracer, private readonly errorCode: number) {}

  loginEnded(record: LoginRecord): void {
    const { startedAt, ms, result, sqlState } = record;
    const options = { startTime: startedAt, attributes: attributesOf(record) };
    const span = this.tracer.startSpan("pgvpd.login", options);
    if (result === "refused") {
      // Not the reason: it may repeat what the client has said.
      span.setStatus({ code: this.errorCode, message: `SQLSTATE ${sqlState}` });
    }
    span.end(new Date(startedAt.getTime() + ms));
  }
}

function attributesOf(record: LoginRecord): Attributes {
  const { connection, peer, isEncrypted, role, database, tenant, method, result, sqlState } =
    record;
  const known = {
    "network.peer.address": peer,
    "db.namespace": database,
    "db.response.status_code": sqlState,
    "tenant.id": tenant,
    "pgvpd.role": role,
    "pgvpd.method": method,
  };
  const present = Object.entries(known).filter(([, value]) => typeof value === "string");
  return {
    ...Object.fromEntries(present) as Record<string, string>,
    "db.system.name": "postgresql",
    "pgvpd.connection": connection,
    "pgvpd.tls": isEncrypted,
    "pgvpd.result": result,
  };
}
