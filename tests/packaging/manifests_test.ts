// Promise: what packaging/ holds fits the program: every variable and setting in it exists, every
// file that it names is there, and no grace period is shorter than a drain.

import { strict as assert } from "node:assert";
import { parse, parseAllDocuments } from "yaml";
import denoJson from "../../deno.json" with { type: "json" };
import { problemsOf, problemText, SETTINGS } from "../../src/config/config.ts";
import { isNotYetThere } from "../support/docs_settings.ts";

const ROOT = new URL("../../", import.meta.url);
const read = (path: string) => Deno.readTextFileSync(new URL(path, ROOT));
const DRAIN_S = 30; // shutdown_timeout

type Variables = Record<string, string>;

/** What pgvpd says about these settings, but not about files: those are in the container. */
function problems(environment: Variables, text?: string): string[] {
  const withoutFiles = Object.entries(environment)
    .filter(([name]) => name.startsWith("PGVPD_"))
    .map(([name, value]) =>
      name.endsWith("_FILE") ? [name.slice(0, -5), "a long enough secret"] : [name, value]
    );
  const file = text === undefined ? null : { path: "pgvpd.conf", text };
  const found = problemsOf({ file, environment: Object.fromEntries(withoutFiles), flags: {} });
  return found.problems.map(problemText).filter((sentence) => !isNotYetThere(sentence));
}

const compose = parse(read("packaging/compose/compose.yaml"));
const kubernetes = parseAllDocuments(read("packaging/kubernetes/pgvpd.yaml"));
const ofKind = (kind: string) =>
  kubernetes.map((document) => document.toJS()).find((each) => each.kind === kind);

Deno.test("the compose example: settings, files, and time to drain", () => {
  const { db, pgvpd } = compose.services;
  assert.deepEqual(problems(pgvpd.environment), []);
  assert.equal(pgvpd.environment.PGVPD_UPSTREAM_HOST, "db");
  for (const volume of db.volumes) {
    const [from] = volume.split(":");
    assert(Deno.statSync(new URL(`packaging/compose/${from}`, ROOT)).isFile, volume);
  }
  const { context, dockerfile } = pgvpd.build;
  assert(Deno.statSync(new URL(`packaging/compose/${context}/${dockerfile}`, ROOT)).isFile);
  assert(Number.parseInt(pgvpd.stop_grace_period) > DRAIN_S);
});

Deno.test("the Kubernetes manifests: settings, probes, secrets, time to drain", () => {
  assert(kubernetes.every(({ errors }) => errors.length === 0));
  const { template } = ofKind("Deployment").spec;
  const [container] = template.spec.containers;
  const variables: { name: string; value: string }[] = container.env;
  const environment = Object.fromEntries(variables.map(({ name, value }) => [name, value]));
  assert.deepEqual(problems(environment, ofKind("ConfigMap").data["pgvpd.conf"]), []);

  const ports: { name: string; containerPort: number }[] = container.ports;
  const portOf = (name: string) => ports.find((port) => port.name === name)?.containerPort;
  assert.equal(portOf("admin"), Number(environment["PGVPD_ADMIN_PORT"]));
  assert.equal(container.readinessProbe.httpGet.path, "/ready");
  for (const probe of ["readinessProbe", "livenessProbe", "startupProbe"]) {
    assert.equal(container[probe].httpGet.port, "admin", probe);
  }
  const [{ targetPort }] = ofKind("Service").spec.ports;
  assert.equal(portOf(targetPort), 6432);

  const mounts: { name: string; mountPath: string }[] = container.volumeMounts;
  const volumes: { name: string }[] = template.spec.volumes;
  for (const { name } of mounts) assert(volumes.some((volume) => volume.name === name), name);
  const secrets = mounts.find(({ name }) => name === "secrets")!.mountPath;
  for (const [name, value] of Object.entries(environment)) {
    if (name.endsWith("_FILE")) assert(value.startsWith(`${secrets}/`), name);
  }
  const preStop = container.lifecycle.preStop.sleep.seconds;
  assert(template.spec.terminationGracePeriodSeconds > DRAIN_S + preStop);
  assert.equal(container.image.split(":")[1], denoJson.version);
  assert.equal(container.securityContext.readOnlyRootFilesystem, true);
});

Deno.test("a mistake in a manifest would be found", () => {
  assert.match(problems({ PGVPD_UPSTREAM_HSOT: "db" }).join(), /PGVPD_UPSTREAM_HSOT/);
  assert.match(problems({}, "pool_mod = session").join(), /pool_mod/);
  assert.match(problems({ PGVPD_POOL_MODE: "session" }).join(), /pool_password/);
});

Deno.test("the systemd unit: time to drain, and the hardening that it promises", () => {
  const unit = read("packaging/pgvpd.service");
  const value = (key: string) => new RegExp(`^${key}=(.*)$`, "m").exec(unit)?.[1];
  assert(Number.parseInt(value("TimeoutStopSec")!) > DRAIN_S);
  assert.equal(value("ExecReload"), "/bin/kill -HUP $MAINPID");
  assert.equal(value("Type"), "notify");
  const hardening = {
    NoNewPrivileges: "yes",
    ProtectSystem: "strict",
    CapabilityBoundingSet: "",
    RestrictNamespaces: "yes",
  };
  for (const [key, wanted] of Object.entries(hardening)) assert.equal(value(key), wanted, key);
  const variables = [...unit.matchAll(/PGVPD_\w+?(?=_FILE|=)/g)].map(([name]) => name);
  const known = SETTINGS.map(({ environment }) => environment);
  for (const variable of variables) assert(known.includes(variable), variable);
});

Deno.test("systemd-analyze finds nothing in the unit", () => {
  try {
    new Deno.Command("systemd-analyze", { args: ["--version"], stdout: "null" }).outputSync();
  } catch {
    console.warn("SKIPPED: systemd-analyze is not installed");
    return;
  }
  // It would complain that pgvpd is not installed; a program that exists stands in for it.
  const directory = Deno.makeTempDirSync();
  try {
    const path = `${directory}/pgvpd.service`;
    const unit = read("packaging/pgvpd.service").replaceAll("/usr/local/bin/pgvpd", "/bin/true");
    Deno.writeTextFileSync(path, unit);
    const { stderr } = new Deno.Command("systemd-analyze", { args: ["verify", path] }).outputSync();
    const said = new TextDecoder().decode(stderr).split("\n").filter((line) =>
      line.includes("pgvpd.service")
    );
    assert.deepEqual(said, []);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

Deno.test("the Dockerfile copies what there is, and .dockerignore lets it through", () => {
  const dockerfile = read("packaging/Dockerfile");
  const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)]
    .flatMap(([, sources]) => sources!.split(" "));
  assert(copied.length >= 7, `${copied}`);
  const ignored = read(".dockerignore").split("\n");
  for (const path of copied) {
    assert(Deno.statSync(new URL(path, ROOT)), path);
    assert(ignored.includes(`!${path}`), `${path} is ignored`);
  }
  assert.match(dockerfile, /^USER 65532:65532$/m);
  assert.match(dockerfile, /^ENV PGVPD_HOST=0\.0\.0\.0$/m);
  assert.match(dockerfile, /^ {2}CMD \["\/usr\/local\/bin\/pgvpd", "ping"\]$/m);
});
