// How the clients of the isolation soak leave.

import { begin, pause, rows, type Step, write } from "./soak_steps.ts";
import { concat, cstring, message } from "./wire_raw_client.ts";

const UTF8 = new TextEncoder();

/** Ways to leave; the connection is closed behind each. */
export const ENDINGS: readonly (readonly [name: string, end: Step])[] = [
  ["says Terminate", async (client) => {
    await client.send(message("X"));
    client.raw!.close();
  }],
  ["says Terminate in a transaction", async (client) => {
    await client.exchange(begin(client), write(client));
    await client.send(message("X"));
  }],
  ["goes in the middle of a transaction", async (client) => {
    await client.exchange(begin(client), client.probe("T"));
  }],
  ["goes without reading", async (client) => {
    await client.send(concat([client.probe().bytes, rows(client).bytes, client.probe().bytes]));
  }],
  ["goes in the middle of a query", async (client) => {
    await client.send(message("Q", cstring("SELECT pg_sleep(0.05)")));
    await pause(client, 10);
  }],
  ["goes in the middle of a message", async (client) => {
    const { bytes } = client.extendedProbe();
    await client.send(bytes.subarray(0, client.random.integer(1, bytes.length - 1)));
  }],
  ["goes in the middle of a COPY", async (client) => {
    await client.send(message("Q", cstring("COPY soak_inbox (tenant, marker) FROM STDIN")));
    await client.nextReply();
    await client.send(message("d", UTF8.encode(`${client.tenant}\t`)));
  }],
  ["ends its side and reads on", async (client) => {
    const units = [client.probe(), client.extendedProbe()];
    await client.send(concat(units.map(({ bytes }) => bytes)));
    await client.raw!.connection.closeWrite();
    for (const { replies, status } of units) await client.receive(replies, status);
  }],
  ["says too much behind Terminate", async (client) => {
    await client.send(concat([client.probe().bytes, message("X"), rows(client).bytes]));
  }],
];
