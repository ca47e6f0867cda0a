// tenants.toml: what holds for single tenants, for groups of them, and where their databases are.

import { parse, TomlError } from "smol-toml";
import { definitionOf, type SettingKey, type Settings } from "./definitions.ts";
import { quoted, suggestion } from "./problems.ts";
import { type Place, TomlPlaces } from "./toml_places.ts";
import { NAME_BYTES_MAX, ValueError } from "./values.ts";

/** What is said of a tenant or a class; what is left out is as it is for all. */
export interface TenantOverride {
  /** By the names of the settings, without `tenant_`; null: none, whatever holds for all. */
  readonly limits: Readonly<Partial<Record<LimitName, number | null>>>;
  /** Settings of PostgreSQL. */
  readonly settings: ReadonlyMap<string, string>;
  /** Null: the upstream of all. */
  readonly upstream: string | null;
}

/** A tenant, or a pattern, and what is said of it. */
export interface TenantEntry extends TenantOverride {
  readonly pattern: string;
  readonly className: string | null;
}

/** Another place for databases: settings that take the place of those for all. */
export interface UpstreamOverride {
  readonly settings: Partial<Settings>;
  /** Null: the one that the client asks for. */
  readonly database: string | null;
  /** upstream_password is to be read from there. */
  readonly passwordFile: string | null;
  readonly place: Place;
}

/** A whole file. */
export interface TenantsFile {
  /** In the order of the file. */
  readonly tenants: readonly TenantEntry[];
  readonly classes: ReadonlyMap<string, TenantOverride>;
  readonly upstreams: ReadonlyMap<string, UpstreamOverride>;
}

/** One mistake. */
export interface TenantsFileProblem extends Place {
  readonly message: string;
}

export const NO_TENANTS: TenantsFile = {
  tenants: [],
  classes: new Map(),
  upstreams: new Map(),
};

/** Limits and the settings that they stand in for. */
const LIMITS = {
  max_connections: "tenant_max_connections",
  rate_limit: "tenant_rate_limit",
  rate_burst: "tenant_rate_burst",
  idle_timeout: "tenant_idle_timeout",
  statement_timeout: "tenant_statement_timeout",
  session_timeout: "tenant_session_timeout",
  query_timeout: "tenant_query_timeout",
  weight: "tenant_weight",
  pool_max: "tenant_pool_max",
  pool_min: "tenant_pool_min",
  queue_max: "tenant_queue_max",
} as const satisfies Record<string, SettingKey>;

/** What a limit is called in the file. */
export type LimitName = keyof typeof LIMITS;

const LIMIT_NAMES = Object.keys(LIMITS) as LimitName[];
const OVERRIDE_KEYS = [...LIMIT_NAMES, "settings", "upstream"];

/** Keys of an upstream and the settings that they stand in for. */
const UPSTREAM_SETTINGS: Readonly<Record<string, SettingKey>> = {
  host: "upstream_host",
  port: "upstream_port",
  tls: "upstream_tls",
  tls_verify: "upstream_tls_verify",
  tls_ca: "upstream_tls_ca",
  tls_direct: "upstream_tls_direct",
  tls_cert: "upstream_tls_cert",
  tls_key: "upstream_tls_key",
  user: "upstream_user",
  password: "upstream_password",
};
const UPSTREAM_KEYS = [...Object.keys(UPSTREAM_SETTINGS), "database", "password_file"];

const SETTING_NAME = /^[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)*$/;
/** Settings that decide who a session is. */
const IDENTITY_SETTINGS = ["role", "session_authorization", "is_superuser"];
const SETTINGS_MAX = 50;
const UPSTREAMS_MAX = 1_000;

type Table = Readonly<Record<string, unknown>>;
type Tell = (path: readonly string[], message: string) => void;

/**
 * Reads a file. What it results in is worth something only when there is no problem.
 *
 * @param contextVariables which are not for this file to set.
 */
export function parseTenantsFile(text: string, contextVariables: readonly string[]): {
  readonly file: TenantsFile;
  readonly problems: readonly TenantsFileProblem[];
} {
  let tables: Table;
  try {
    tables = parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const { line, column } = error;
    const message = error.message.split("\n")[0]!.replace(/^Invalid TOML document: /, "");
    return { file: NO_TENANTS, problems: [{ line, column, message: `no valid TOML: ${message}` }] };
  }
  const places = new TomlPlaces(text);
  const problems: TenantsFileProblem[] = [];
  const tell: Tell = (path, message) => void problems.push({ ...places.find(...path), message });
  return { file: new FileReader(tell, places, contextVariables).read(tables), problems };
}

/** Reads what has been parsed, and tells every mistake. */
class FileReader {
  readonly #tell: Tell;
  readonly #places: TomlPlaces;
  readonly #reserved: ReadonlySet<string>;

  constructor(tell: Tell, places: TomlPlaces, contextVariables: readonly string[]) {
    this.#tell = tell;
    this.#places = places;
    this.#reserved = new Set([
      ...IDENTITY_SETTINGS,
      ...contextVariables.map((name) => name.toLowerCase()),
    ]);
  }

  read(tables: Table): TenantsFile {
    this.#checkKeys(tables, [], ["tenants", "classes", "upstreams"]);
    const upstreams = new Map(
      this.#tablesIn(tables, "upstreams").map((
        [name, table],
      ) => [name, this.#upstream(name, table)]),
    );
    if (upstreams.size > UPSTREAMS_MAX) {
      this.#tell(["upstreams"], `more than ${UPSTREAMS_MAX} upstreams`);
    }
    const classes = new Map(
      this.#tablesIn(tables, "classes").map(([name, table]) => {
        const path = ["classes", name];
        this.#checkKeys(table, path, OVERRIDE_KEYS);
        return [name, this.#override(table, path, upstreams)];
      }),
    );
    const tenants = this.#tablesIn(tables, "tenants").map(([pattern, table]) => {
      const path = ["tenants", pattern];
      this.#checkKeys(table, path, [...OVERRIDE_KEYS, "class"]);
      if (pattern === "") this.#tell(path, "a tenant has a name");
      const className = this.#reference(table, [...path, "class"], classes, "classes");
      return { pattern, className, ...this.#override(table, path, upstreams) };
    });
    return { tenants, classes, upstreams };
  }

  #tablesIn(tables: Table, key: string): [string, Table][] {
    const group = tables[key];
    if (group === undefined) return [];
    if (!isTable(group)) {
      this.#tell([key], `${quoted(key)} must be a table, as in [${key}.name]`);
      return [];
    }
    return Object.entries(group).flatMap(([name, table]): [string, Table][] => {
      if (isTable(table)) return [[name, table]];
      this.#tell([key, name], `${quoted(name)} must be a table, as in [${key}.${name}]`);
      return [];
    });
  }

  #checkKeys(table: Table, path: readonly string[], known: readonly string[]): void {
    for (const key of Object.keys(table)) {
      if (known.includes(key)) continue;
      this.#tell([...path, key], `unknown key ${quoted(key)}${suggestion(key, known)}`);
    }
  }

  #override(
    table: Table,
    path: readonly string[],
    upstreams: ReadonlyMap<string, unknown>,
  ): TenantOverride {
    const limits: Partial<Record<LimitName, number | null>> = {};
    for (const name of LIMIT_NAMES) {
      if (table[name] === undefined) continue;
      const definition = definitionOf(LIMITS[name]);
      if (table[name] === "none" && definition.default === null) limits[name] = null;
      else {
        const value = this.#value(LIMITS[name], table[name], [...path, name]);
        if (value !== undefined) limits[name] = value as number;
      }
    }
    const [least, most] = [limits.pool_min ?? 0, limits.pool_max ?? Infinity];
    if (least > most) {
      const place = [...path, "pool_min"];
      this.#tell(place, `"pool_min" is ${least}, more than "pool_max", which is ${most}`);
    }
    return {
      limits,
      settings: this.#settings(table["settings"], [...path, "settings"]),
      upstream: this.#reference(table, [...path, "upstream"], upstreams, "upstreams"),
    };
  }

  /** Undefined when it is not valid. */
  #value(setting: SettingKey, value: unknown, path: readonly string[]): unknown {
    const { type, secret } = definitionOf(setting);
    const name = path.at(-1)!;
    if (typeof value !== "string" && typeof value !== "number" && typeof value !== "boolean") {
      this.#tell(path, `${quoted(name)} must be ${type.allowed}`);
      return undefined;
    }
    try {
      return type.parse(String(value));
    } catch (error) {
      if (!(error instanceof ValueError)) throw error;
      const shown = secret === true ? "" : ` ${quoted(String(value))}`;
      this.#tell(path, `invalid value${shown} for ${quoted(name)}: ${error.message}`);
      return undefined;
    }
  }

  #settings(table: unknown, path: readonly string[]): Map<string, string> {
    const settings = new Map<string, string>();
    if (table === undefined) return settings;
    if (!isTable(table)) {
      this.#tell(path, '"settings" must be a table, as in settings = { work_mem = "4MB" }');
      return settings;
    }
    for (const [name, value] of flattened(table)) {
      const problem = this.#settingProblem(name, value);
      if (problem !== null) this.#tell([...path, ...name.split(".")], problem);
      else settings.set(name.toLowerCase(), String(value));
    }
    if (settings.size > SETTINGS_MAX) this.#tell(path, `more than ${SETTINGS_MAX} settings`);
    return settings;
  }

  #settingProblem(name: string, value: unknown): string | null {
    const canonical = name.toLowerCase();
    if (!SETTING_NAME.test(name) || name.length > NAME_BYTES_MAX) {
      return `${quoted(name)} is no name of a setting`;
    }
    if (this.#reserved.has(canonical) || canonical.startsWith("pgvpd.")) {
      return `${quoted(name)} is part of who a session is, and cannot be set here`;
    }
    if (!["string", "number", "boolean"].includes(typeof value)) {
      return `${quoted(name)} must be text, a number, true or false`;
    }
    return String(value).includes("\0") ? `${quoted(name)} must not contain a zero byte` : null;
  }

  #reference(
    table: Table,
    path: readonly string[],
    known: ReadonlyMap<string, unknown>,
    group: string,
  ): string | null {
    const name = table[path.at(-1)!];
    if (name === undefined) return null;
    if (typeof name === "string" && known.has(name)) return name;
    const hint = suggestion(String(name), known.keys());
    this.#tell(path, `there is no [${group}.${String(name)}]${hint}`);
    return null;
  }

  #upstream(name: string, table: Table): UpstreamOverride {
    const path = ["upstreams", name];
    this.#checkKeys(table, path, UPSTREAM_KEYS);
    const settings: Record<string, unknown> = {};
    for (const [key, setting] of Object.entries(UPSTREAM_SETTINGS)) {
      if (table[key] === undefined) continue;
      const value = this.#value(setting, table[key], [...path, key]);
      if (value !== undefined) settings[definitionOf(setting).property] = value;
    }
    if (table["host"] === undefined) this.#tell(path, '"host" is missing');
    if (table["password"] !== undefined && table["password_file"] !== undefined) {
      this.#tell([...path, "password_file"], '"password" and "password_file" exclude each other');
    }
    return {
      settings: settings as Partial<Settings>,
      database: this.#text(table, [...path, "database"]),
      passwordFile: this.#text(table, [...path, "password_file"]),
      place: this.#places.find(...path),
    };
  }

  #text(table: Table, path: readonly string[]): string | null {
    const key = path.at(-1)!;
    const value = table[key];
    if (value === undefined) return null;
    if (typeof value === "string" && value !== "" && !value.includes("\0")) return value;
    this.#tell(path, `${quoted(key)} must be text that is not empty`);
    return null;
  }
}

/** `app.plan = "x"` is a table in TOML, and the name of one setting in PostgreSQL. */
function flattened(table: Table, prefix = ""): [string, unknown][] {
  return Object.entries(table).flatMap(([name, value]) =>
    isTable(value) ? flattened(value, `${prefix}${name}.`) : [[`${prefix}${name}`, value]]
  );
}

function isTable(value: unknown): value is Table {
  return typeof value === "object" && value !== null && !Array.isArray(value) &&
    !(value instanceof Date);
}
