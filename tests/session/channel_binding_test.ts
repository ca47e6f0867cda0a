// Who says that it could bind is recognized, wherever the message is cut.

import { strict as assert } from "node:assert";
import { bindingImpossible, saysChannelBinding } from "../../src/session/channel_binding.ts";
import { cstring, join } from "../support/messages.ts";

function initialResponse(gs2: string): Uint8Array {
  const data = new TextEncoder().encode(`${gs2},,n=,r=nonce`);
  return join(cstring("SCRAM-SHA-256"), new Uint8Array(4), data);
}

Deno.test("the flag y is what counts", () => {
  const [could, cannot] = [initialResponse("y"), initialResponse("n")];
  assert(saysChannelBinding(could, 0, could.length));
  assert(!saysChannelBinding(cannot, 0, cannot.length));
});

Deno.test("a message that ends before the flag says nothing", () => {
  const could = initialResponse("y");
  for (const end of [0, 5, 14, 18]) assert(!saysChannelBinding(could, 0, end));
});

Deno.test("what such a client is told names both ways out", () => {
  assert.match(
    new TextDecoder().decode(bindingImpossible().encode()),
    /pool_mode.*channel_binding=/,
  );
});
