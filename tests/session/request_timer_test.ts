// Statements and transactions are counted and timed, whatever comes in between.

import { strict as assert } from "node:assert";
import { Histogram } from "../../src/meters.ts";
import { RequestTimer } from "../../src/session/request_timer.ts";

Deno.test("a statement of its own is one query and one transaction", () => {
  const [query, transaction] = [new Histogram(), new Histogram()];
  const timer = new RequestTimer({ query, transaction });
  timer.answered(true); // a notice, say: nobody has asked
  timer.asked();
  timer.asked(); // the rest of a message that came in two pieces
  timer.answered(true);
  timer.answered(true);
  assert.deepEqual([timer.queries, timer.transactions], [1, 1]);
  assert.deepEqual([query.count, transaction.count], [1, 1]);
  assert.equal(query.sum, transaction.sum);
});

Deno.test("a transaction lasts from its first statement to the end of its last", () => {
  const [query, transaction] = [new Histogram(), new Histogram()];
  const timer = new RequestTimer({ query, transaction });
  for (const isOver of [false, false, true]) {
    timer.asked();
    timer.answered(isOver);
  }
  assert.deepEqual([timer.queries, timer.transactions], [3, 1]);
  assert.deepEqual([query.count, transaction.count], [3, 1]);
  assert(transaction.sum >= query.sum);
});
