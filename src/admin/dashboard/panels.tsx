// The dashboard's panels, as they are at one moment.

import type { Child } from "hono/jsx";
import type { BackendView, ClientView, Control, PoolView, TenantView } from "../../control.ts";
import type { Refusal } from "../../meters.ts";
import { age, bytes, count, duration } from "./format.ts";
import { listed, listTenants, type TenantQuery } from "./listing.ts";
import type { Panel } from "./page.tsx";
import { type Sample, type Samples, SAMPLES_MAX } from "./samples.ts";
import { Action, type Column, Spark, Table } from "./table.tsx";

/** What one viewer is shown. */
export interface View {
  readonly control: Control;
  readonly samples: Samples;
  readonly tenants: readonly TenantView[];
  readonly query: TenantQuery;
  readonly now: Date;
}

/** One line below the title. */
export function summaryOf({ control, now }: View) {
  return (
    <p>
      {control.poolMode === "none" ? "passthrough" : `${control.poolMode} pooling`}, up for{" "}
      {age(control.startedAt, now)}
    </p>
  );
}

/** Every panel, by its id. */
export function panelsOf(view: View): Record<Panel, Child> {
  return {
    figures: <Figures history={view.samples.history} />,
    tenants: <Tenants view={view} />,
    pools: <Pools pools={view.control.pools()} />,
    backends: <Backends backends={view.control.backends()} now={view.now} />,
    pinned: <Pinned clients={view.control.clients()} now={view.now} />,
    refusals: <Refusals refusals={view.control.refusals()} now={view.now} />,
  };
}

const FIGURES: readonly (readonly [
  title: string,
  read: (sample: Sample) => number | null,
  write: (value: number | null) => string,
])[] = [
  ["Connections", (sample) => sample.connections, (value) => count(value ?? 0)],
  ["Waiting", (sample) => sample.waiting, (value) => count(value ?? 0)],
  ["Transactions/s", (sample) => sample.transactions, (value) => count(value ?? 0)],
  ["Queries/s", (sample) => sample.queries, (value) => count(value ?? 0)],
  ["Median", (sample) => sample.medianMs, duration],
  ["99th percentile", (sample) => sample.p99Ms, duration],
  ["Errors/s", (sample) => sample.errors, (value) => count(value ?? 0)],
];

function Figures({ history }: { readonly history: readonly Sample[] }) {
  const last = history.at(-1);
  return (
    <dl class="figures">
      {FIGURES.map(([title, read, write]) => (
        <div>
          <dt>{title}</dt>
          <dd>{last === undefined ? "–" : write(read(last))}</dd>
          <Spark values={history.map((sample) => read(sample) ?? 0)} length={SAMPLES_MAX} />
        </div>
      ))}
    </dl>
  );
}

function Tenants({ view: { samples, tenants, query } }: { readonly view: View }) {
  const rate = (tenant: string) => samples.lineOf(tenant).at(-1) ?? 0;
  const columns: [Column<TenantView>, ...Column<TenantView>[]] = [
    { title: "Tenant", cell: ({ tenant }) => tenant },
    { title: "Connections", isNumber: true, cell: ({ connections }) => count(connections) },
    { title: "Active", isNumber: true, cell: ({ active }) => count(active) },
    { title: "Waiting", isNumber: true, cell: ({ waiting }) => count(waiting) },
    { title: "Queries/s", isNumber: true, cell: ({ tenant }) => count(rate(tenant)) },
    {
      title: "Last minute",
      cell: ({ tenant }) => <Spark values={samples.lineOf(tenant)} length={SAMPLES_MAX} />,
    },
    { title: "Transactions", isNumber: true, cell: ({ transactions }) => count(transactions) },
    { title: "In", isNumber: true, cell: ({ bytesIn }) => bytes(bytesIn) },
    { title: "Out", isNumber: true, cell: ({ bytesOut }) => bytes(bytesOut) },
    { title: "State", cell: stateOf },
    { title: "Actions", cell: (tenant) => <TenantActions tenant={tenant} /> },
  ];
  return (
    <Table
      caption="Tenants, with what they do"
      none={query.search === "" ? "No tenant has been here." : "No tenant has such a name."}
      listed={listTenants(tenants, query, rate)}
      keyOf={({ tenant }) => tenant}
      columns={columns}
    />
  );
}

function stateOf({ isPaused, isDenied }: TenantView): string {
  return [isDenied ? "denied" : "", isPaused ? "paused" : ""].filter(Boolean).join(", ");
}

function TenantActions({ tenant: { tenant, isPaused, isDenied } }: {
  readonly tenant: TenantView;
}) {
  const path = `/tenants/${encodeURIComponent(tenant)}`;
  return (
    <div class="actions">
      {isPaused
        ? <Action path={`${path}/resume`} label="Resume" question={`Resume ${tenant}?`} />
        : <Action path={`${path}/pause`} label="Pause" question={`Pause ${tenant}?`} />}
      <Action
        path={`${path}/disconnect`}
        label="Disconnect"
        question={`Disconnect all clients of ${tenant}?`}
      />
      {isDenied
        ? <Action path={`${path}/allow`} label="Allow" question={`Allow ${tenant} again?`} />
        : <Action path={`${path}/deny`} label="Deny" question={`Deny ${tenant} from now on?`} />}
    </div>
  );
}

function Pools({ pools }: { readonly pools: readonly PoolView[] }) {
  const columns: [Column<PoolView>, ...Column<PoolView>[]] = [
    { title: "Database", cell: ({ database }) => database },
    { title: "Role", cell: ({ role }) => role },
    { title: "Upstream", cell: ({ upstream }) => upstream ?? "" },
    { title: "Active", isNumber: true, cell: ({ active }) => count(active) },
    { title: "Idle", isNumber: true, cell: ({ idle }) => count(idle) },
    { title: "Opening", isNumber: true, cell: ({ opening }) => count(opening) },
    { title: "Waiting", isNumber: true, cell: ({ waiting }) => count(waiting) },
    {
      title: "Longest wait",
      isNumber: true,
      cell: ({ waiting, longestWaitMs }) => waiting === 0 ? "" : duration(longestWaitMs),
    },
    { title: "Lent", isNumber: true, cell: ({ checkouts }) => count(checkouts) },
    { title: "Context changes", isNumber: true, cell: (pool) => count(pool.contextChanges) },
    { title: "State", cell: ({ isFailing }) => isFailing ? "failing" : "" },
  ];
  return (
    <Table
      caption="Pools of server connections"
      none="No pool is in use."
      listed={listed(pools)}
      keyOf={({ id }) => id}
      columns={columns}
    />
  );
}

function Backends({ backends, now }: {
  readonly backends: readonly BackendView[];
  readonly now: Date;
}) {
  const columns: [Column<BackendView>, ...Column<BackendView>[]] = [
    { title: "Process", cell: ({ processId }) => processId ?? "–" },
    { title: "Database", cell: ({ database }) => database },
    { title: "Role", cell: ({ role }) => role },
    { title: "Address", cell: ({ address }) => address },
    { title: "State", cell: ({ state }) => state },
    { title: "Tenant", cell: ({ tenant }) => tenant ?? "" },
    { title: "Client", isNumber: true, cell: ({ client }) => client ?? "" },
    { title: "Age", isNumber: true, cell: ({ connectedAt }) => age(connectedAt, now) },
  ];
  const key = ({ address, processId, client }: BackendView) => `${address} ${processId} ${client}`;
  return (
    <Table
      caption="Server connections, and who has them"
      none="No server connection is open."
      listed={listed(backends)}
      keyOf={key}
      columns={columns}
    />
  );
}

function Pinned({ clients, now }: {
  readonly clients: readonly ClientView[];
  readonly now: Date;
}) {
  const columns: [Column<ClientView>, ...Column<ClientView>[]] = [
    { title: "Client", cell: ({ peer }) => peer },
    { title: "Application", cell: ({ applicationName }) => applicationName },
    { title: "Tenant", cell: ({ tenant }) => tenant ?? "" },
    { title: "Reason", cell: ({ pinned }) => pinned ?? "" },
    { title: "Process", isNumber: true, cell: ({ backend }) => backend ?? "" },
    { title: "Age", isNumber: true, cell: ({ connectedAt }) => age(connectedAt, now) },
  ];
  return (
    <Table
      caption="Clients that keep their server connection, and why"
      none="No client has to keep its server connection."
      listed={listed(clients.filter(({ pinned }) => pinned !== null))}
      keyOf={({ id }) => String(id)}
      columns={columns}
    />
  );
}

function Refusals({ refusals, now }: {
  readonly refusals: readonly Refusal[];
  readonly now: Date;
}) {
  const columns: [Column<Refusal>, ...Column<Refusal>[]] = [
    { title: "Client", cell: ({ peer }) => peer },
    { title: "User", cell: ({ user }) => user ?? "" },
    { title: "SQLSTATE", cell: ({ sqlState }) => sqlState },
    { title: "Reason", cell: ({ reason }) => reason },
    { title: "Ago", isNumber: true, cell: ({ at }) => age(at, now) },
  ];
  return (
    <Table
      caption="Logins that were refused, the latest first"
      none="No login has been refused."
      listed={listed(refusals.toReversed())}
      keyOf={({ connection }) => String(connection)}
      columns={columns}
    />
  );
}
