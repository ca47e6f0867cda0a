// The settings of resolvers: where they are written, who runs them, what is kept of their answers.

import type { Row } from "./row.ts";
import { choice, count, path, roleName, text } from "./values.ts";

export const RESOLVERS = {
  resolvers: {
    group: "Resolvers",
    type: path("a resolver file"),
    default: null,
    example: "/etc/pgvpd/resolvers.toml",
    sentence: "File of the queries that derive more context.",
    detail: "It is read again when it changes; see [resolvers.md](resolvers.md).",
    reloadable: true,
    common: true,
    available: true,
  },
  resolver_user: {
    group: "Resolvers",
    type: roleName(),
    default: null,
    example: "pgvpd_resolver",
    sentence: "Role that runs resolvers, on its own connections.",
    detail: "Unset: they run as the login role, on a connection of the client's; with pools what " +
      "`cache_ttl` keeps cannot be invalidated, and without them nothing is kept.",
    reloadable: true,
    available: true,
  },
  resolver_password: {
    group: "Resolvers",
    type: text("a password", "password"),
    default: null,
    example: '"the password of resolver_user"',
    sentence: "Password of resolver_user.",
    reloadable: true,
    secret: true,
    available: true,
  },
  resolver_database: {
    group: "Resolvers",
    type: text("the name of a database"),
    default: null,
    example: "app",
    sentence: "Database that resolvers run in.",
    detail: "Unset: the one that the client asks for.",
    reloadable: true,
    available: true,
  },
  resolver_pool_size: {
    group: "Resolvers",
    type: count(1),
    default: "4",
    sentence: "Connections of resolver_user to each database.",
    detail: "One more listens for invalidations.",
    reloadable: true,
    available: true,
  },
  resolver_cache_size: {
    group: "Resolvers",
    type: count(0),
    default: "10000",
    sentence: "Answers of resolvers that are kept.",
    detail:
      "Each for the `cache_ttl` of its resolver, and 64 MiB in all; those that were not used " +
      "for longest go first.",
    reloadable: true,
    available: true,
  },
  on_invalidate: {
    group: "Resolvers",
    type: choice(["keep", "refresh", "close"]),
    default: "refresh",
    sentence: "What a change of context does to sessions.",
    detail:
      "`refresh`: in transaction mode the next transaction has the new context; elsewhere the " +
      "session ends (57P01) when it is idle, if the context is another one now. `close`: every " +
      "session that the event concerns ends when it is idle. `keep`: nothing.",
    reloadable: true,
    available: true,
  },
} satisfies Record<string, Row>;
