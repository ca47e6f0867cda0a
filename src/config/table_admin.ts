// The settings of what operators see and do: the admin API, the console, metrics, the audit log.

import { host } from "./hosts.ts";
import type { Row } from "./row.ts";
import { choice, count, NAME_BYTES_MAX, nameList, portNumber, text } from "./values.ts";
import { ValueError, type ValueType } from "./values.ts";

const TOKEN_LENGTH_MIN = 12;

/** A secret that nobody guesses. */
function token(): ValueType<string> {
  const allowed = `a token of at least ${TOKEN_LENGTH_MIN} characters, all of them ASCII`;
  return {
    ...text(allowed, "token"),
    parse(value) {
      if (value.length < TOKEN_LENGTH_MIN || !/^[\x20-\x7e]+$/.test(value)) {
        throw new ValueError(`must be ${allowed}`);
      }
      return value;
    },
  };
}

export const ADMIN = {
  admin_port: {
    group: "Admin",
    type: portNumber(0),
    default: null,
    example: "9090",
    sentence: "Port for health, metrics and status over HTTP.",
    detail: "0 takes a free one. See [admin.md](admin.md).",
    common: true,
    available: true,
  },
  admin_host: {
    group: "Admin",
    type: host(),
    default: "127.0.0.1",
    sentence: "Address of the admin API.",
    detail: "It has no TLS of its own: on any other address than this machine's put something " +
      "in front that has.",
    available: true,
  },
  admin_token: {
    group: "Admin",
    type: token(),
    default: null,
    example: '"the password of operators"',
    sentence: "Bearer token for everything but health and ready.",
    detail: "It is also the password of `admin_users` that `auth_file` does not know.",
    reloadable: true,
    secret: true,
    available: true,
  },
  admin_open_to: {
    group: "Admin",
    type: choice(["loopback", "anywhere"]),
    default: "loopback",
    sentence: "Where the admin API needs no token.",
    detail: "`anywhere` lets everybody who reaches `admin_host` disconnect tenants and stop pgvpd.",
    available: true,
  },
  admin_names: {
    group: "Admin",
    type: nameList("host names", { itemBytesMax: 253 }),
    default: null,
    example: "pgvpd.internal",
    sentence: "Host names by which the admin API is reached.",
    detail: "Besides addresses and `localhost`. A request without the token under any other name " +
      "may have been led here by a web page, and is refused.",
    reloadable: true,
    available: true,
  },
  admin_users: {
    group: "Admin",
    type: nameList("user names", { itemBytesMax: NAME_BYTES_MAX }),
    default: null,
    example: "pgvpd_admin",
    sentence: "Users of the console, the database pgvpd.",
    detail: "They have the password that `auth_file` has for them, else `admin_token`. " +
      "See [admin.md](admin.md).",
    reloadable: true,
    available: true,
  },
  metrics_tenants: {
    group: "Admin",
    type: count(0),
    default: "50",
    sentence: "Tenants with metrics of their own.",
    detail: "Those with the most traffic of late; all others are `other`.",
    reloadable: true,
    available: true,
  },
  audit_log: {
    group: "Admin",
    type: choice(["off", "stdout", "file"]),
    default: "off",
    sentence: "Where logins and acts of operators are recorded.",
    detail: "JSON lines; see [admin.md](admin.md).",
    reloadable: true,
    available: true,
  },
  audit_file: {
    group: "Admin",
    type: text("the path of a file", "path"),
    default: null,
    example: "/var/log/pgvpd/audit.jsonl",
    sentence: "File of the audit log.",
    detail: "Opened again at SIGHUP, so that it can be moved away.",
    reloadable: true,
    available: true,
  },
} satisfies Record<string, Row>;
