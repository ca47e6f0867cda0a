// Random conversations with a server: what clients say, and what they should not.

import {
  bind,
  close,
  COPY_DONE,
  copyData,
  copyFail,
  describe,
  execute,
  FLUSH,
  parse,
  query,
  SYNC,
} from "./extended.ts";
import type { Random } from "./random.ts";
import type { Step } from "./recorder.ts";
import { concat } from "./wire_raw_client.ts";

const SIMPLE = [
  ...["SELECT 1", "SELECT 1/0", "SELECT no_such", "SELEC", "", ";", "SELECT 1; SELECT 2; SELECT 3"],
  ...["BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT s", "ROLLBACK TO s", "BEGIN; SELECT 1/0; COMMIT"],
  ...[
    "SELECT generate_series(1, 300)",
    "SELECT repeat('x', 200000)",
    "SELECT 1; SELECT 1/0; SELECT 3",
  ],
  ...["INSERT INTO oracle VALUES (1, 'a'), (2, NULL)", "SELECT * FROM oracle ORDER BY id, name"],
  ...[
    "UPDATE oracle SET id = id + 1",
    "DELETE FROM oracle",
    "INSERT INTO oracle VALUES (1, 'a') RETURNING id",
  ],
  ...["DO $$ BEGIN RAISE NOTICE 'seen'; END $$", "DO $$ BEGIN RAISE NOTICE 'x'; RAISE 'y'; END $$"],
  ...["SET DateStyle = 'German, DMY'", "SET TimeZone = 'Asia/Tokyo'", "RESET DateStyle"],
  ...["SHOW DateStyle", "SHOW TimeZone", "SELECT '01/02/2020'::date", "SET application_name = 'x'"],
  ...["SHOW application_name", "SET LOCAL work_mem = '1MB'", "SHOW work_mem", "SELECT $1"],
  ...["DECLARE c CURSOR FOR SELECT generate_series(1, 9)", "FETCH 2 FROM c", "MOVE c", "CLOSE c"],
  ...[
    "COPY oracle TO STDOUT",
    "COPY (SELECT 1/0) TO STDOUT",
    "EXECUTE nothing",
    "DEALLOCATE nothing",
  ],
  ...["DEALLOCATE a", 'DEALLOCATE PREPARE "b b"', "DEALLOCATE ALL", "DISCARD ALL", "RESET ALL"],
];
const COPY_IN = ["COPY oracle FROM STDIN", "SELECT 1; COPY oracle (id) FROM STDIN; SELECT 2"];
const NAMES = ["", "", "a", "a", "b b", "ünï", "pgvpd_1", "x".repeat(60)];
const PORTALS = ["", "", "", "p", "q q"];
const TEXTS = [
  ...["SELECT 1", "SELECT $1::int", "SELECT $1::text, $2::int", "SELECT generate_series(1, 5)", ""],
  ...[
    "SELECT 1/0",
    "SELECT no_such",
    "SELEC",
    "INSERT INTO oracle VALUES ($1, $2)",
    "SELECT '01/02/2020'::date",
  ],
  ...[
    "SELECT * FROM oracle ORDER BY id, name",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SELECT $1 + 1",
    "SELECT 1; SELECT 2",
  ],
  ...["SELECT 10 / $1::int", "SELECT repeat('y', $1::int)"],
];
const VALUES = [[], [], ["0"], ["7"], ["70000"], ["seven"], ["3", "4"], [null, "5"], [
  "1",
  "2",
  "3",
]];

/** A conversation of some steps, at whose end nothing is open. */
export function conversation(random: Random): Step[] {
  const steps: Step[] = [];
  const count = random.integer(4, 16);
  while (steps.length < count) {
    const kind = random.fraction();
    if (kind < 0.4) steps.push(simple(random.pick(SIMPLE)));
    else if (kind < 0.46) steps.push(copyIn(random));
    else if (kind < 0.5) steps.push(...extendedCopy(random));
    else if (kind < 0.6) steps.push(...flushed(random), simpleSync());
    else if (kind < 0.63) steps.push(...deallocation(random));
    else if (kind < 0.75) steps.push(typical(random));
    else steps.push(pipeline(random));
  }
  return [...steps, simple("ROLLBACK"), simple("SELECT * FROM oracle ORDER BY id, name")];
}

function simple(sql: string): Step {
  return { text: `Q ${sql}`, bytes: query(sql), ready: 1, flushed: 0 };
}

function simpleSync(): Step {
  return { text: "Sync", bytes: SYNC, ready: 1, flushed: 0 };
}

function copyEnd(random: Random): Uint8Array {
  const rows = [copyData("1\tx\n2\ty\n"), copyData("5\n"), copyData("bad\trow\textra\n")];
  const data = Array.from({ length: random.integer(0, 3) }, () => random.pick(rows));
  return concat([...data, random.chance(0.8) ? COPY_DONE : copyFail("no more")]);
}

function copyIn(random: Random): Step {
  return { ...simple(random.pick(COPY_IN)), data: copyEnd(random) };
}

/** The COPY is begun by an extended query, and its Sync follows when the data has been sent. */
function extendedCopy(random: Random): Step[] {
  const batch = [parse("", COPY_IN[0]!), bind("", ""), execute(), FLUSH];
  const step = { text: "COPY, extended", bytes: concat(batch), ready: 0, flushed: 3 };
  const ending = {
    text: "Close · Sync",
    bytes: concat([close("S", ""), SYNC]),
    ready: 1,
    flushed: 0,
  };
  return [{ ...step, data: copyEnd(random) }, ending];
}

interface Said {
  readonly text: string;
  readonly bytes: Uint8Array;
  readonly answered: number;
}

function anything(random: Random): Said {
  const name = random.pick(NAMES);
  const portal = random.pick(PORTALS);
  const kind = random.integer(0, 9);
  if (kind <= 2) {
    const text = random.pick(TEXTS);
    return { text: `Parse "${name}" ${text}`, bytes: parse(name, text), answered: 1 };
  }
  if (kind <= 5) {
    const values = random.pick(VALUES);
    const text = `Bind "${portal}" "${name}" ${values}`;
    return { text, bytes: bind(portal, name, values), answered: 1 };
  }
  if (kind <= 7) {
    const rows = random.pick([0, 0, 1, 2]);
    return { text: `Execute "${portal}" ${rows}`, bytes: execute(portal, rows), answered: 1 };
  }
  const what = random.pick(["S", "P"] as const);
  const of = what === "S" ? name : portal;
  if (kind === 8) {
    return { text: `Describe ${what} "${of}"`, bytes: describe(what, of), answered: 1 };
  }
  return { text: `Close ${what} "${of}"`, bytes: close(what, of), answered: 1 };
}

/** By an extended query, which is prepared first or not. */
function deallocation(random: Random): Step[] {
  const text = random.pick(["DEALLOCATE ALL", "DEALLOCATE a", "discard all", ' deallocate "b b";']);
  // By a name of its own a DEALLOCATE of one is not understood.
  const name = /\ball\b/i.test(text) ? random.pick(["", "d"]) : "";
  const twice = random.chance(0.5) ? [bind("", name), execute()] : [];
  const all = [parse(name, text), bind("", name), execute(), ...twice, SYNC];
  return [
    { text: `Parse "${name}" ${text} …`, bytes: concat(all), ready: 1, flushed: 0 },
    {
      text: `Close S "${name}"`,
      bytes: concat([close("S", name), SYNC]),
      ready: 1,
      flushed: 0,
    },
  ];
}

/**
 * Anything in any order, ended by Syncs. Behind a Close of a statement nothing follows: where
 * the server skips it, pgvpd takes the statement for closed until it hears of that.
 */
function pipeline(random: Random): Step {
  const parts: Uint8Array[] = [];
  const texts: string[] = [];
  const readyMax = random.integer(1, 4);
  let ready = 0;
  let closes = false;
  for (; ready < readyMax && !closes; ready++) {
    const count = random.integer(0, 7);
    for (let index = 0; index < count; index++) {
      const said = random.chance(0.5) ? anything(random) : null;
      const all = said === null ? whole(random) : [said];
      for (const { text, bytes } of all) {
        parts.push(bytes);
        texts.push(text);
        closes ||= text.startsWith("Close S");
      }
    }
    parts.push(SYNC);
    texts.push("Sync");
  }
  return { text: texts.join(" · "), bytes: concat(parts), ready, flushed: 0 };
}

/** A statement as a driver would say it. */
function whole(random: Random): Said[] {
  const name = random.pick(NAMES);
  const text = random.pick(TEXTS);
  const values = random.pick(VALUES);
  return [
    ...(random.chance(0.6)
      ? [{ text: `Parse "${name}" ${text}`, bytes: parse(name, text), answered: 1 }]
      : []),
    ...(random.chance(0.5)
      ? [{ text: `Describe S "${name}"`, bytes: describe("S", name), answered: 1 }]
      : []),
    { text: `Bind "" "${name}" ${values}`, bytes: bind("", name, values), answered: 1 },
    { text: `Execute ""`, bytes: execute(), answered: 1 },
  ];
}

function typical(random: Random): Step {
  const said = whole(random);
  const bytes = concat([...said.map((each) => each.bytes), SYNC]);
  return {
    text: `${said.map(({ text }) => text).join(" · ")} · Sync`,
    bytes,
    ready: 1,
    flushed: 0,
  };
}

/** Bursts that end with Flush. */
function flushed(random: Random): Step[] {
  return Array.from({ length: random.integer(1, 3) }, () => {
    const said = Array.from({ length: random.integer(1, 3) }, () => anything(random));
    return {
      text: `${said.map(({ text }) => text).join(" · ")} · Flush`,
      bytes: concat([...said.map(({ bytes }) => bytes), FLUSH]),
      ready: 0,
      flushed: said.reduce((sum, { answered }) => sum + answered, 0),
    };
  });
}
