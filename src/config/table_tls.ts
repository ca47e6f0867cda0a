// The settings of TLS, towards clients and towards PostgreSQL.

import type { Row } from "./row.ts";
import { boolean, choice, path, portNumber, text } from "./values.ts";

const CERTIFICATE = /-----BEGIN (TRUSTED )?CERTIFICATE-----/;
const PRIVATE_KEY = /-----BEGIN ([A-Z]+ )*PRIVATE KEY-----/;

export const TLS = {
  client_tls: {
    group: "TLS",
    type: choice(["disable", "allow", "require"]),
    default: "allow",
    sentence: "Whether clients may or must use TLS.",
    detail: "`allow` offers it as soon as `tls_cert` and `tls_key` are set. `require` also holds " +
      "for bypass users. A CancelRequest is taken in the clear: libpq before 17 sends it so.",
    reloadable: true,
    common: true,
    available: true,
  },
  tls_port: {
    group: "TLS",
    type: portNumber(0),
    default: null,
    example: "6433",
    sentence: "Another port, for TLS clients alone.",
    detail:
      "Both ports take TLS that is asked for (`sslmode=require`) and TLS from the first byte " +
      "(`sslnegotiation=direct`).",
    available: true,
  },
  tls_cert: {
    group: "TLS",
    type: path("a PEM certificate", CERTIFICATE),
    default: null,
    example: "/etc/pgvpd/server.crt",
    sentence: "Certificate shown to clients.",
    detail:
      "With those of its intermediate authorities behind it. This file, and the others with " +
      "certificates and keys, is read again when it changes.",
    reloadable: true,
    common: true,
    available: true,
  },
  tls_key: {
    group: "TLS",
    type: path("a PEM private key", PRIVATE_KEY),
    default: null,
    example: "/etc/pgvpd/server.key",
    sentence: "Private key of the certificate.",
    reloadable: true,
    common: true,
    available: true,
  },
  client_tls_ca: {
    group: "TLS",
    type: path("a PEM certificate", CERTIFICATE),
    default: null,
    example: "/etc/pgvpd/client-ca.crt",
    sentence: "Clients need a certificate from these authorities.",
    reloadable: true,
    available: true,
  },
  cert_identity: {
    group: "TLS",
    type: choice(["none", "cn", "san-uri"]),
    default: "none",
    sentence: "Name in a certificate that must be the tenant.",
    detail: "`cn` is the common name, `san-uri` a URI among the alternative names. The tenant is " +
      "the first context value; for a bypass user it is the user name.",
    reloadable: true,
    available: true,
  },
  cert_identity_prefix: {
    group: "TLS",
    type: text(),
    default: null,
    example: "spiffe://example.com/tenant/",
    sentence: "What stands before the tenant in that name.",
    reloadable: true,
    available: true,
  },
  upstream_tls: {
    group: "TLS",
    type: choice(["disable", "prefer", "require", "verify-ca", "verify-full", "true"], {
      synonyms: {
        ...{ yes: "true", on: "true", "1": "true" },
        ...{ false: "disable", no: "disable", off: "disable", "0": "disable" },
      },
      bareFlag: "true",
    }),
    default: "disable",
    sentence: "TLS towards PostgreSQL, as libpq's sslmode.",
    detail:
      "`true` is `verify-full`, or `require` with `upstream_tls_verify = false`; `false` is " +
      "`disable`. `prefer` and `require` encrypt, but do not find out with whom.",
    reloadable: true,
    common: true,
    available: true,
  },
  upstream_tls_verify: {
    group: "TLS",
    type: boolean(),
    default: "true",
    sentence: "Check the certificate when upstream_tls is true.",
    reloadable: true,
    available: true,
  },
  upstream_tls_ca: {
    group: "TLS",
    type: path("a PEM certificate", CERTIFICATE),
    default: null,
    example: "/etc/pgvpd/upstream-ca.crt",
    sentence: "The only authorities that PostgreSQL's may come from.",
    detail:
      "Several certificates may stand in it, also the server's own self-signed one. Without " +
      "it the authorities count that Deno trusts (`DENO_TLS_CA_STORE=system` for the system's).",
    reloadable: true,
    common: true,
    available: true,
  },
  upstream_tls_direct: {
    group: "TLS",
    type: boolean(),
    default: "false",
    sentence: "Begin with TLS, without asking (PostgreSQL 17).",
    reloadable: true,
    available: true,
  },
  upstream_tls_cert: {
    group: "TLS",
    type: path("a PEM certificate", CERTIFICATE),
    default: null,
    example: "/etc/pgvpd/client.crt",
    sentence: "Certificate that pgvpd shows to PostgreSQL.",
    reloadable: true,
    available: true,
  },
  upstream_tls_key: {
    group: "TLS",
    type: path("a PEM private key", PRIVATE_KEY),
    default: null,
    example: "/etc/pgvpd/client.key",
    sentence: "Private key of that certificate.",
    reloadable: true,
    available: true,
  },
} satisfies Record<string, Row>;
