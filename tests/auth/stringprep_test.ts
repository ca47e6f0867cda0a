// The tables of RFC 3454, counted and spot-checked.

import { strict as assert } from "node:assert";
import {
  CodePoints,
  L_CAT,
  MAPPED_TO_NOTHING,
  NON_ASCII_SPACE,
  PROHIBITED,
  RAND_AL_CAT,
  UNASSIGNED,
} from "../../src/auth/stringprep.ts";

const CODE_POINTS = 0x110000;

function count(table: CodePoints): number {
  let found = 0;
  for (let point = 0; point < CODE_POINTS; point++) if (table.has(point)) found++;
  return found;
}

Deno.test("CodePoints finds the ends of every range and nothing beside them", () => {
  const table = new CodePoints("5 10-12\n ff");
  const found = Array.from({ length: 0x120 }, (_, point) => point).filter((one) => table.has(one));
  assert.deepEqual(found, [5, 0x10, 0x11, 0x12, 0xff]);
});

Deno.test("the tables have as many code points as the RFC gives them", () => {
  assert.equal(count(NON_ASCII_SPACE), 17);
  assert.equal(count(MAPPED_TO_NOTHING), 27);
  assert.equal(count(PROHIBITED), 139_813);
  assert.equal(count(UNASSIGNED), 879_309);
  assert.equal(count(RAND_AL_CAT), 1_044);
  assert.equal(count(L_CAT), 229_973);
});

Deno.test("what is assigned has one direction or none, and is not unassigned", () => {
  for (let point = 0; point < CODE_POINTS; point++) {
    const inTables = [UNASSIGNED, RAND_AL_CAT, L_CAT].filter((table) => table.has(point));
    assert(inTables.length <= 1, point.toString(16));
  }
});

Deno.test("the tables know these characters", () => {
  const known: [CodePoints, number[], number[]][] = [
    [NON_ASCII_SPACE, [0xa0, 0x200b, 0x3000], [0x20, 0x200c, 0x3001]],
    [MAPPED_TO_NOTHING, [0xad, 0x200b, 0xfeff], [0x2d, 0x200e]],
    [PROHIBITED, [0, 7, 0x7f, 0xa0, 0xd800, 0xe000, 0xfdd0, 0xfffd, 0x10ffff], [
      0x20,
      0xe9,
      0x4e00,
    ]],
    [UNASSIGNED, [0x221, 0x0530, 0x1f600, 0xeffff - 2], [0x220, 0x0531, 0x1d7ce, 0x2a6d6]],
    [RAND_AL_CAT, [0x5d0, 0x627, 0xfefc], [0x41, 0x31, 0x660]],
    [L_CAT, [0x41, 0x7a, 0xe9, 0x4e00], [0x31, 0x5d0, 0x20]],
  ];
  for (const [table, inside, outside] of known) {
    for (const point of inside) assert(table.has(point), point.toString(16));
    for (const point of outside) assert(!table.has(point), point.toString(16));
  }
});
