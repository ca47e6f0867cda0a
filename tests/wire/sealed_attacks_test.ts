// Every attack on the sealed context, in every mode, through the proxy: in the sealed database it
// sees nothing of another tenant. The same attacks on a plain one show that they are attacks.
//
// The results are the table in docs/security.md: PGVPD_WRITE_DOCS=1 writes it anew.

import { strict as assert } from "node:assert";
import { type Attack, Attacker, type Seen, tidyUp } from "../support/sealed_attacker.ts";
import { FORGERIES } from "../support/sealed_forgeries.ts";
import { INTRUSIONS } from "../support/sealed_intrusions.ts";
import { SealedWorld } from "../support/sealed_world.ts";
import type { Front } from "../support/wire_bench.ts";
import { type Mode, MODES } from "../support/wire_modes.ts";

const ATTACKS: readonly Attack[] = [...FORGERIES, ...INTRUSIONS];
const PAGE = new URL("../../docs/security.md", import.meta.url);
const BEGIN = "<!-- attacks: this table is made by tests/wire/sealed_attacks_test.ts -->\n";
const END = "<!-- attacks: end -->\n";
/** Before and after every attack: what belongs to nobody's attack. */
const ROWS =
  "SELECT string_agg(concat(tenant_id, id, body), ',' ORDER BY tenant_id, id) FROM notes";

let world: SealedWorld;
const results = new Map<string, { readonly plain: string[]; readonly sealed: string[] }>(
  ATTACKS.map(({ id }) => [id, { plain: [], sealed: [] }]),
);

Deno.test.beforeAll(async () => void (world = await SealedWorld.start()));
Deno.test.afterAll(() => world[Symbol.asyncDispose]());

type Options = Parameters<SealedWorld["front"]>[1];

function front(mode: Mode, isSealed: boolean, options: Options = {}): Promise<Front> {
  return world.front(mode, {
    ...{ contextGuard: "off", poolSize: 2, poolAuth: "cleartext", poolAuthCleartext: "anywhere" },
    ...options,
  }, isSealed ? [world.key] : null);
}

async function seenBy(attack: Attack, front: Front, mode: Mode, isSealed: boolean): Promise<Seen> {
  await using attacker = await Attacker.connect(world, front, mode, isSealed);
  return await attacker.perform(attack);
}

for (const mode of MODES) {
  for (const isSealed of [true, false]) {
    const database = isSealed ? "sealed" : "plain";
    Deno.test(`attacks on a ${database} context, pool_mode = ${mode}`, async () => {
      const admin = isSealed ? world.bench.admin : world.plain;
      const before = await admin.value(ROWS);
      await using usual = await front(mode, isSealed);
      await using alone = await front(mode, isSealed, { poolSize: 1 });
      await using hopping = await front(mode, isSealed, { setRole: "authenticated" });
      for (const attack of ATTACKS) {
        if (!isSealed && attack.sealedOnly) continue;
        const at = attack.setRole ? hopping : attack.alone ? alone : usual;
        const seen = await seenBy(attack, at, mode, isSealed);
        if (seen.foreign > 0) results.get(attack.id)![database].push(mode);
        await tidyUp(world);
        if (!isSealed) continue;
        assert.equal(seen.foreign, 0, `${attack.id}, ${attack.what}: foreign rows`);
        if (attack.own !== undefined && seen.own !== null) {
          assert.equal(seen.own, attack.own, `${attack.id}, ${attack.what}: own rows`);
        }
      }
      assert.equal(await admin.value(ROWS), before, "no attack has changed a row");
    });
  }
}

function cell(leakedIn: readonly string[]): string {
  if (leakedIn.length === 0) return "closed";
  return leakedIn.length === MODES.length ? "**leaks**" : `**leaks** (${leakedIn.join(", ")})`;
}

function table(): string {
  const rows = ATTACKS.map(({ id, what, sealedOnly }) => {
    const { plain, sealed } = results.get(id)!;
    return `| ${id} | ${what} | ${sealedOnly ? "–" : cell(plain)} | ${cell(sealed)} |\n`;
  });
  return `| | attack | plain | sealed |\n|---|---|---|---|\n${rows.join("")}`;
}

Deno.test("attacks: forging is what leaks where nothing is sealed", () => {
  const leaking = ATTACKS.filter(({ id }) => results.get(id)!.plain.length > 0);
  assert(leaking.length >= 15, `attacks that do no harm show nothing: ${leaking.length}`);
  for (const id of ["A01", "A03", "A13", "B02", "C16"]) {
    assert.equal(results.get(id)!.plain.length, MODES.length, id);
  }
});

Deno.test("attacks: the table in docs/security.md says what was seen", async () => {
  const page = await Deno.readTextFile(PAGE);
  const [head, rest] = page.split(BEGIN);
  const [committed, tail] = (rest ?? "").split(END);
  assert(tail !== undefined, "docs/security.md has the table's marks");
  if (Deno.env.get("PGVPD_WRITE_DOCS") === "1") {
    await Deno.writeTextFile(PAGE, `${head}${BEGIN}${table()}${END}${tail}`);
    return;
  }
  assert.equal(
    committed,
    table(),
    "PGVPD_WRITE_DOCS=1 deno test -A tests/wire/sealed_attacks_test.ts",
  );
});
