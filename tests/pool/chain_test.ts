// Chain: order, removal anywhere, and walks during which links go.

import { strict as assert } from "node:assert";
import { Chain, type Link, linkFor } from "../../src/pool/chain.ts";
import { Random } from "../support/random.ts";

Deno.test("a chain does what an array does, whatever is added, removed and moved", () => {
  for (let seed = 0; seed < 100; seed++) {
    const random = new Random(seed);
    const chain = new Chain<number>();
    let links: Link<number>[] = [];
    for (let step = 0; step < 200; step++) {
      const link = links.length === 0 ? null : random.pick(links);
      if (link === null || random.chance(0.5)) {
        const added = linkFor(step);
        chain.add(added);
        links.push(added);
      } else {
        links = links.filter((other) => other !== link);
        if (random.chance(0.5)) chain.remove(link);
        else {
          chain.moveToEnd(link);
          links.push(link);
        }
        assert.equal(link.isIn, links.includes(link));
      }
      assert.deepEqual([...chain], links.map(({ value }) => value), `seed ${seed}`);
      assert.equal(chain.size, links.length);
      assert.equal(chain.first, links[0]?.value);
    }
  }
});

Deno.test("a chain may lose the link that a walk has come to", () => {
  const chain = new Chain<number>();
  const links = [1, 2, 3].map(linkFor);
  for (const link of links) chain.add(link);
  const seen: number[] = [];
  for (const value of chain) {
    seen.push(value);
    chain.remove(links[value - 1]!);
  }
  assert.deepEqual(seen, [1, 2, 3]);
  assert.equal(chain.size, 0);
});
