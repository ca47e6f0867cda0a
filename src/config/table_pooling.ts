// The settings of pooling: the pools, how clients log in to pgvpd, and how pgvpd logs in.

import type { Row } from "./row.ts";
import {
  boolean,
  choice,
  count,
  duration,
  NAME_BYTES_MAX,
  nameList,
  path,
  roleName,
  text,
} from "./values.ts";

const POOLS = {
  pool_mode: {
    group: "Pooling",
    type: choice(["none", "session", "transaction"]),
    default: "none",
    sentence: "Whether clients share server connections.",
    detail: "`session`: a client has a server connection to itself for as long as it stays, and " +
      "the next one gets it cleaned. `transaction`: it is lent one for each transaction, whoever " +
      "its tenant is. pgvpd then asks for the clients' passwords itself. Users in " +
      "`superuser_bypass` are never pooled.",
    common: true,
    available: true,
  },
  pool_size: {
    group: "Pooling",
    type: count(1),
    default: "20",
    sentence: "Server connections for each database and role.",
    reloadable: true,
    common: true,
    available: true,
  },
  pool_min_idle: {
    group: "Pooling",
    type: count(0),
    default: "0",
    sentence: "Idle server connections that a pool keeps.",
    reloadable: true,
    available: true,
  },
  pool_max_total: {
    group: "Pooling",
    type: count(1),
    default: null,
    example: "80",
    sentence: "Server connections of all pools together.",
    reloadable: true,
    available: true,
  },
  pool_max_waiting: {
    group: "Pooling",
    type: count(0),
    default: "1000",
    sentence: "Clients that wait for one pool; more are refused.",
    reloadable: true,
    available: true,
  },
  pool_checkout_timeout: {
    group: "Pooling",
    type: duration({ min: "1ms", max: "24h" }),
    default: "5s",
    sentence: "Time to wait for a server connection.",
    reloadable: true,
    available: true,
  },
  pool_idle_timeout: {
    group: "Pooling",
    type: duration({ min: "1s", max: "168h" }),
    default: "5m",
    sentence: "Idle time before a server connection is closed.",
    reloadable: true,
    available: true,
  },
  pool_max_lifetime: {
    group: "Pooling",
    type: duration({ min: "1s", max: "168h" }),
    default: "1h",
    sentence: "Age at which a server connection is replaced.",
    detail: "One that a client has is replaced when the client leaves.",
    reloadable: true,
    available: true,
  },
  pool_check_after: {
    group: "Pooling",
    type: duration({ min: "0", max: "168h" }),
    default: "30s",
    sentence: "Idle time that calls for a check before use.",
    detail: "A server connection that was idle for longer is asked whether it still lives before " +
      "a client gets it; `0` asks always.",
    reloadable: true,
    available: true,
  },
  max_prepared_statements: {
    group: "Pooling",
    type: count(0),
    default: "200",
    sentence: "Prepared statements kept on a server connection.",
    detail: "In transaction mode a client's named statements go with it from one server " +
      "connection to the next. Of those that are prepared on one, so many stay from " +
      "transaction to transaction, the most recently used. With `0` none stays: each is " +
      "prepared again in every transaction that uses it.",
    reloadable: true,
    available: true,
  },
  session_state: {
    group: "Pooling",
    type: choice(["pin", "error", "ignore"]),
    default: "pin",
    sentence: "Transaction mode: what session state means.",
    detail:
      "Temporary tables, LISTEN, PREPARE, session advisory locks, cursors WITH HOLD and SET " +
      "of what PostgreSQL does not report cannot follow a client from one server connection to " +
      "another. `pin`: a client that uses them keeps its server connection until it leaves. " +
      "`error`: its session ends before the statement is run. `ignore`: the state may be lost " +
      "between transactions; no other context sees it.",
    reloadable: true,
    available: true,
  },
  pool_function_calls: {
    group: "Pooling",
    type: boolean(),
    default: "false",
    sentence: "Transaction mode: let FunctionCall messages pass.",
    reloadable: true,
    available: true,
  },
  pool_roles: {
    group: "Pooling",
    type: nameList("role names", { itemBytesMax: NAME_BYTES_MAX }),
    default: null,
    example: "app_user",
    sentence: "Roles that may be pooled.",
    detail: "Unset: any that is neither superuser nor BYPASSRLS.",
    reloadable: true,
    available: true,
  },
  pool_databases: {
    group: "Pooling",
    type: nameList("database names", { itemBytesMax: NAME_BYTES_MAX }),
    default: null,
    example: "app",
    sentence: "Databases that may be pooled.",
    detail: "Unset: any.",
    reloadable: true,
    available: true,
  },
} satisfies Record<string, Row>;

const LOGINS = {
  pool_auth: {
    group: "Pooling",
    type: choice(["scram", "md5", "cleartext"]),
    default: "scram",
    sentence: "How clients prove their password to pgvpd.",
    reloadable: true,
    available: true,
  },
  pool_auth_cleartext: {
    group: "Pooling",
    type: choice(["tls", "anywhere"]),
    default: "tls",
    sentence: "Where cleartext passwords may travel.",
    detail: "`tls`: over TLS, unix sockets and loopback only.",
    reloadable: true,
    available: true,
  },
  pool_password: {
    group: "Pooling",
    type: text("a password", "password"),
    default: null,
    example: '"the password of the clients"',
    sentence: "Password that clients give in pool mode.",
    reloadable: true,
    secret: true,
    common: true,
    available: true,
  },
  auth_file: {
    group: "Pooling",
    type: path("a userlist.txt"),
    default: null,
    example: "/etc/pgvpd/userlist.txt",
    sentence: "Passwords of roles: a userlist.txt as PgBouncer's.",
    reloadable: true,
    common: true,
    available: true,
  },
  auth_query: {
    group: "Pooling",
    type: text("a query with $1 in it"),
    default: null,
    example: "SELECT rolname, rolpassword FROM pg_authid WHERE rolname = $1",
    sentence: "Query for a role and its password; $1 is the role.",
    detail:
      "It gives one row of two columns, as `SELECT rolname, rolpassword FROM pg_authid WHERE " +
      "rolname = $1` does, or none.",
    reloadable: true,
    available: true,
  },
  auth_user: {
    group: "Pooling",
    type: roleName(),
    default: null,
    example: "pgvpd_auth",
    sentence: "Role that runs auth_query.",
    reloadable: true,
    available: true,
  },
  auth_password: {
    group: "Pooling",
    type: text("a password", "password"),
    default: null,
    example: '"the password of auth_user"',
    sentence: "Password of auth_user.",
    reloadable: true,
    secret: true,
    available: true,
  },
  auth_database: {
    group: "Pooling",
    type: text("the name of a database"),
    default: null,
    example: "app",
    sentence: "Database that auth_query runs in.",
    detail: "Unset: the one that the client asks for.",
    reloadable: true,
    available: true,
  },
  auth_failure_limit: {
    group: "Pooling",
    type: count(1),
    default: "30",
    sentence: "Failed logins of one address in a minute.",
    detail: "Further logins from there are refused.",
    reloadable: true,
    available: true,
  },
  upstream_user: {
    group: "Pooling",
    type: roleName(),
    default: null,
    example: "app_user",
    sentence: "Role that pgvpd logs in to PostgreSQL as.",
    detail: "Unset: the role in the client's user name.",
    reloadable: true,
    available: true,
  },
  upstream_password: {
    group: "Pooling",
    type: text("a password", "password"),
    default: null,
    example: '"the password of the login role"',
    sentence: "Password that pgvpd gives to PostgreSQL.",
    detail: "Pooling needs it, unless `upstream_tls_cert` is set or `upstream_host` is a socket " +
      "directory.",
    reloadable: true,
    secret: true,
    common: true,
    available: true,
  },
} satisfies Record<string, Row>;

export const POOLING = { ...POOLS, ...LOGINS };
