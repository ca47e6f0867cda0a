// Promise: what the documents name exists. Links and anchors, settings, variables, flags, commands,
// error messages, configuration blocks. What they show is run by tests/wire/docs_test.ts.

import { strict as assert } from "node:assert";
import { SqlState } from "../../src/codec/codes.ts";
import { FLAGS, problemsOf, problemText, SETTINGS } from "../../src/config/config.ts";
import { parseResolvers } from "../../src/config/resolvers.ts";
import { parseTenantsFile } from "../../src/config/tenants_file.ts";
import { COMING_SETTINGS, isNotYetThere } from "../support/docs_settings.ts";
import {
  type Block,
  linksOf,
  type Page,
  parsePage,
  readPages,
  spansOf,
} from "../support/markdown.ts";
import { CHECKS } from "../../src/doctor/examine.ts";
import { parseIgnoreFile } from "../../src/doctor/ignore.ts";
import { codeOnly, readSource } from "../support/source.ts";

const ROOT = new URL("../../", import.meta.url);
const PAGES = readPages();
const BLOCKS = PAGES.flatMap(({ blocks }) => blocks);

const place = (page: string, line: number, what: string) => `${page}:${line}: ${what}`;
const exists = (path: string) => {
  try {
    Deno.statSync(new URL(path, ROOT));
    return true;
  } catch {
    return false;
  }
};

function deadLinks(page: Page): string[] {
  return linksOf(page).flatMap(({ line, path, anchor }) => {
    if (!exists(path)) {
      return [place(page.path, line, `there is no ${path}`)];
    }
    const target = PAGES.find((each) => each.path === path);
    if (anchor === null || target === undefined || target.anchors.has(anchor)) return [];
    return [place(page.path, line, `${path} has no #${anchor}`)];
  });
}

Deno.test("every link inside the project leads somewhere, and so does every anchor", () => {
  assert(PAGES.length > 20, "the pages were found");
  assert(PAGES.flatMap(linksOf).length > 100, "the links were found");
  assert.deepEqual(PAGES.flatMap(deadLinks), []);
});

Deno.test("every page of docs/ is in its index", () => {
  const index = PAGES.find(({ path }) => path === "docs/README.md")!;
  const linked = linksOf(index).map(({ path }) => path);
  const missing = PAGES.map(({ path }) => path).filter((path) =>
    path.startsWith("docs/") && !linked.includes(path) && !path.endsWith(".intro.md") &&
    path !== index.path && !path.startsWith("docs/clients/")
  );
  assert.deepEqual(missing, []);
});

/** Words of the program: its code and texts without comments, and its SQL. */
const WORDS = new Set(
  [
    ...readSource("src", "packaging", "main.ts").map(({ text }) => codeOnly(text, true)),
    ...[...Deno.readDirSync(new URL("sql", ROOT))].map(({ name }) =>
      Deno.readTextFileSync(new URL(`sql/${name}`, ROOT))
    ),
  ].flatMap((text) => text.match(/[A-Za-z_][A-Za-z0-9_]*/g) ?? []),
);
const SETTING_NAMES = new Set([
  ...SETTINGS.flatMap(({ key, aliases, secretFile }) => [
    key,
    ...aliases,
    ...(secretFile === null ? [] : [secretFile.key]),
  ]),
  ...COMING_SETTINGS,
]);
const VARIABLES = new Set([
  ...SETTINGS.flatMap(({ environment, secretFile }) => [
    environment,
    ...(secretFile === null ? [] : [secretFile.environment]),
  ]),
  ...COMING_SETTINGS,
  ...["PGVPD_CONFIG", "PGVPD_SERVICE_HOST"],
]);
/** Settings and names of others: PostgreSQL, PgBouncer, systemd, Kubernetes, ORMs. */
const ELSEWHERE = new Set(
  `auth_dbname auth_type channel_binding default_pool_size ignore_startup_parameters
   max_client_conn max_db_connections max_locks_per_transaction min_pool_size query_timeout
   reserve_pool_size reserve_pool_timeout search_path server_check_delay server_check_query
   server_connect_timeout server_idle_timeout server_lifetime server_login_retry
   server_reset_query server_round_robin server_tls_sslmode tcp_keepidle unix_socket_dir
   client_tls_sslmode client_tls_cert_file client_tls_key_file client_tls_ca_file
   server_tls_ca_file server_tls_cert_file server_tls_key_file client_idle_timeout
   max_user_connections max_packet_size log_connections log_disconnections listen_addr
   admin_users stats_users so_reuseport tcp_user_timeout disable_pqexec query_wait_notify
   max_connections superuser_reserved_connections pg_stat_activity pg_hba pg_dump pg_restore
   net_ipv4 rds_superuser service_role neon_superuser security_invoker tcp_keepalive_time
   pg_stats pg_terminate_backend backtrace_functions hba_file auth_hba_file pg_authid
   tls_ca tls_verify tls_direct tls_cert tls_key`
    .split(/\s+/),
);

/** A word with an underscore is a setting, or something that the project or its neighbours know. */
function unknownNames(page: Page): string[] {
  if (page.path.startsWith("docs/clients/")) return []; // names of the clients'
  const shown = new Set(page.blocks.flatMap(({ text }) => text.match(/\w+/g) ?? []));
  return spansOf(page).flatMap(({ line, text }) => {
    const faults = (text.match(/\bPGVPD_[A-Z_]+\b/g) ?? [])
      .filter((name) => !VARIABLES.has(name) && !/_$/.test(name))
      .map((name) => place(page.path, line, `there is no variable ${name}`));
    const assigned = /^([a-z]+(?:_[a-z]+)+) = /.exec(text)?.[1];
    if (
      assigned !== undefined && !SETTING_NAMES.has(assigned) && !WORDS.has(assigned) &&
      !shown.has(assigned)
    ) {
      faults.push(place(page.path, line, `there is no setting ${assigned}`));
    }
    for (const name of text.match(/^[a-z]+(?:_[a-z]+)+$/g) ?? []) {
      const metric = name.replace(/^pgvpd_/, "");
      if (
        SETTING_NAMES.has(name) || WORDS.has(metric) || WORDS.has(name) || ELSEWHERE.has(name) ||
        shown.has(name)
      ) {
        continue;
      }
      faults.push(place(page.path, line, `nobody knows ${name}`));
    }
    return faults;
  });
}

Deno.test("every setting and name between backticks exists", () => {
  assert(PAGES.flatMap(spansOf).length > 1000, "the code spans were found");
  assert.deepEqual(PAGES.flatMap(unknownNames), []);
});

/** What a fragment needs beside it before its settings may stand together. */
const COMPANIONS: readonly [when: RegExp, what: string][] = [
  [/^pool_mode = (session|transaction)/m, "pool_password = x"],
  [/^pool_mode = (session|transaction)/m, "upstream_password = x"],
  [/^(tls_port|client_tls|client_tls_ca)\b/m, "tls_cert = c.pem"],
  [/^(tls_port|client_tls|client_tls_ca)\b/m, "tls_key = k.pem"],
  [/^client_tls_ca\b/m, "client_tls = require"],
  [/^admin_(users|host)\b/m, "admin_token = a long enough secret"],
];

/** A fragment as a whole file, without secrets in other files. */
function asWhole(text: string): string {
  const own = text.replace(
    /^(\w+)_file\s*=.*$/gm,
    (line, key: string) =>
      SETTINGS.some((each) => each.secretFile?.key === `${key}_file`)
        ? `${key} = a long enough secret`
        : line,
  );
  const keys = new Set([...own.matchAll(/^(\w+)\s*=/gm)].map(([, key]) => key));
  const companions = COMPANIONS
    .filter(([when, what]) => when.test(own) && !keys.has(what.split(" ")[0]!))
    .filter(([, what]) => !(what.startsWith("pool_password") && /^auth_(file|query)/m.test(own)));
  return [own, ...companions.map(([, what]) => what)].join("\n");
}

function configurationFaults({ page, line, text }: Block): string[] {
  const file = { path: page, text: asWhole(text) };
  return problemsOf({ file, environment: {}, flags: {} }).problems.map(problemText)
    .filter((sentence) => !isNotYetThere(sentence) && !/, which cannot be read: /.test(sentence))
    .map((sentence) => place(page, line, sentence));
}

Deno.test("every ini block is a configuration without a mistake", () => {
  const blocks = BLOCKS.filter(({ language }) => language === "ini");
  assert(blocks.length > 10, "the blocks were found");
  assert.deepEqual(blocks.flatMap(configurationFaults), []);
});

function ignoreFaults(page: string, line: number, text: string): string[] {
  try {
    parseIgnoreFile(text, CHECKS);
    return [];
  } catch (error) {
    return [place(page, line, String(error))];
  }
}

function tomlFaults({ page, line, text }: Block): string[] {
  if (/^\[\[ignore\]\]/m.test(text)) return ignoreFaults(page, line, text);
  const { problems } = /^\[\[resolver\]\]/m.test(text)
    ? parseResolvers(text)
    : parseTenantsFile(text, ["app.current_tenant_id"]);
  return problems.map((problem) => place(page, line, problem.message));
}

Deno.test("every toml block is a file of resolvers or of tenants", () => {
  const blocks = BLOCKS.filter(({ language }) => language === "toml");
  assert(blocks.length > 3, "the blocks were found");
  assert.deepEqual(blocks.flatMap(tomlFaults), []);
});

const COMMANDS = readSource("src/commands").map(({ text }) => text).join("\n");
const FLAG_NAMES = new Set([
  ...FLAGS.map(({ flag }) => flag),
  ...COMMANDS.match(/--[a-z][a-z-]*/g) ?? [],
]);

/** Where a line calls pgvpd: at its beginning, behind a pipe, by a path, or as main.ts. */
const CALL = /(?:(?:^|\| |bin\/)pgvpd|main\.ts)((?: [^|&;#]+)?)(?:\||$)/;

/** Commands and flags of a line in which pgvpd is called. */
function commandFaults({ page, line, text }: Block): string[] {
  const lines = text.replaceAll("\\\n", " ").split("\n");
  return lines.flatMap((each) => {
    const called = CALL.exec(each.split(" # ")[0]!);
    if (called === null) return [];
    const words = called[1]!.trim().split(/\s+/).filter((word) => word !== "");
    const flags = words.filter((word) => word.startsWith("--")).map((word) => word.split("=")[0]!);
    const faults = flags.filter((flag) => !FLAG_NAMES.has(flag)).map((flag) => `no flag ${flag}`);
    const [command] = words;
    if (command !== undefined && /^[a-z]+$/.test(command)) {
      const isKnown = new RegExp(`(\\.command\\(|program, lent, )"${command}[ "]`).test(COMMANDS);
      if (!isKnown) faults.push(`no command ${command}`);
    }
    return faults.map((fault) => place(page, line, fault));
  });
}

Deno.test("every command line of pgvpd has commands and flags that exist", () => {
  const blocks = BLOCKS.filter(({ language }) => ["sh", "bash"].includes(language));
  assert.deepEqual(blocks.flatMap(commandFaults), []);
});

Deno.test("every shell block is one that a shell can read", () => {
  const blocks = BLOCKS.filter(({ language }) => ["sh", "bash"].includes(language));
  assert(blocks.length > 15, "the blocks were found");
  for (const { page, line, text } of blocks) {
    const { success, stderr } = new Deno.Command("bash", { args: ["-n", "-c", text] }).outputSync();
    assert(success, place(page, line, new TextDecoder().decode(stderr)));
  }
});

Deno.test("every deno task that a page names exists", () => {
  const { tasks } = JSON.parse(Deno.readTextFileSync(new URL("deno.json", ROOT)));
  const named = PAGES.flatMap(({ path, text }) =>
    [...text.matchAll(/(?:deno(?:@[\d.]+)?|dn) task ([a-z:]+)/g)].map(([, task]) =>
      `${path} ${task}`
    )
  );
  assert(named.length > 5);
  assert.deepEqual(named.filter((each) => !(each.split(" ")[1]! in tasks)), []);
});

/** Source with its templates and broken strings put together: one long line of letters. */
const SAID = readSource("src").map(({ text }) => text.replace(/["'`]\s*\+\s*["'`]/g, "")).join(
  "\n",
);

/** `…` stands for what differs from case to case. */
function isSaid(message: string): boolean {
  const parts = message.split("…").map((part) => part.trim()).filter((part) => part.length > 3);
  return parts.length > 0 && parts.every((part) =>
    SAID.includes(part.replaceAll('"', "")) ||
    SAID.includes(part)
  );
}

Deno.test("every error message in the troubleshooting page is one that pgvpd gives", () => {
  const page = PAGES.find(({ path }) => path === "docs/troubleshooting.md")!;
  const messages = page.prose.flatMap(({ line, text }) => {
    const message = /^### `(.+)`$/.exec(text)?.[1];
    return message === undefined ? [] : [{ line, message }];
  });
  assert(messages.length > 20, "the messages were found");
  const unsaid = messages.filter(({ message }) => !isSaid(message));
  assert.deepEqual(unsaid, []);
});

/** Errors whose SQLSTATE stands beside their message in the source. */
const ERRORS = readSource("src").flatMap(({ text }) =>
  [...text.matchAll(/new PgError\(\s*SqlState\.(\w+),\s*((?:["`][^"`]*["`]\s*\+?\s*)+)/g)].map(
    ([, state, message]) => ({
      sqlState: SqlState[state as keyof typeof SqlState],
      message: message!.replace(/["`]\s*\+\s*["`]|["`]\s*$|^["`]/g, ""),
    }),
  )
);

/** What the page says of this message, when it begins with a SQLSTATE. */
function statesIn(page: Page): { message: string; sqlState: string }[] {
  return [...page.text.matchAll(/^### `(.+)`\n\n([0-9A-Z]{5})\./gm)]
    .map(([, message, sqlState]) => ({ message: message!, sqlState: sqlState! }));
}

Deno.test("every SQLSTATE of the troubleshooting page is the one that the error has", () => {
  const page = PAGES.find(({ path }) => path === "docs/troubleshooting.md")!;
  const wrong: string[] = [];
  let checked = 0;
  for (const { message, sqlState } of statesIn(page)) {
    const parts = message.split("…").map((part) => part.trim()).filter((part) => part.length > 3);
    const given = ERRORS.filter((error) => parts.every((part) => error.message.includes(part)));
    if (given.length === 0) continue; // the source has it at another place than the message
    checked++;
    if (given.some((error) => error.sqlState === sqlState)) continue;
    wrong.push(`${message}: not ${sqlState}, but ${given[0]!.sqlState}`);
  }
  assert.deepEqual(wrong, []);
  assert(checked > 25, `${checked} were found in the source`);
});

Deno.test("the checkers find what is planted", () => {
  const page = parsePage(
    "docs/x.md",
    "# A b\n\n[dead](nowhere.md) [right](tls.md#clients) [wrong](tls.md#no)\n" +
      "`pool_sise`, `pool_sise = 3`, `PGVPD_PROT`, `pool_size`\n",
  );
  assert.deepEqual(deadLinks(page), [
    "docs/x.md:3: there is no docs/nowhere.md",
    "docs/x.md:3: docs/tls.md has no #no",
  ]);
  assert.deepEqual(unknownNames(page), [
    "docs/x.md:4: nobody knows pool_sise",
    "docs/x.md:4: there is no setting pool_sise",
    "docs/x.md:4: there is no variable PGVPD_PROT",
  ]);
  const block = (text: string): Block => ({ page: "x", line: 1, language: "", words: [], text });
  assert.match(configurationFaults(block("pool_mod = session")).join(), /unknown key "pool_mod"/);
  assert.match(configurationFaults(block("pool_mode = sesion")).join(), /sesion/);
  assert.deepEqual(configurationFaults(block("pool_mode = session")), []);
  assert.notDeepEqual(tomlFaults(block('[[resolver]]\nnam = "x"')), []);
  assert.notDeepEqual(tomlFaults(block("[classes.free]\nmax = 1")), []);
  const commands = "pgvpd --prot 1\npgvpd chekc\npgvpd --port 1\nx | pgvpd sql setup\n";
  assert.deepEqual(commandFaults(block(commands)), [
    "x:1: no flag --prot",
    "x:1: no command chekc",
  ]);
  assert(isSaid("handshake timed out after … s while …"));
  assert(!isSaid("handshake timed out before … s"));
  assert.throws(() => parsePage("x", "```sql\nSELECT 1"), /is not closed/);
});
