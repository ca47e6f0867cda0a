// Place: one text for one database of one upstream.

import { strict as assert } from "node:assert";
import { parsePlace, placeText } from "../../src/pool/place.ts";

Deno.test("places are told apart, and read back", () => {
  const places = [
    { upstream: null, database: "shop" },
    { upstream: "eu#1", database: "shop" },
    { upstream: "eu#2", database: "shop" },
    { upstream: "eu#1", database: "eu#1" },
    { upstream: null, database: "eu#1shop" },
  ];
  const texts = places.map(placeText);
  assert.equal(new Set(texts).size, places.length);
  assert.deepEqual(texts.map(parsePlace), places);
  assert.equal(texts[0], "shop");
});
