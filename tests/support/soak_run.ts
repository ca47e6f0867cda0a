// One run of the isolation soak, from its first client to its verdict.

import { Disconnected, SoakClient } from "./soak_client.ts";
import { ENDINGS } from "./soak_endings.ts";
import { hijacks, pause, type Step, STEPS } from "./soak_steps.ts";
import { type SoakOptions, type SoakReport, SoakWorld } from "./soak_world.ts";
import type { Bench } from "./wire_bench.ts";

const WEIGHT = STEPS.reduce((sum, [, weight]) => sum + weight, 0);
/** Between two connections of one client. */
const STEPS_MAX = 40;

/**
 * Runs for some seconds.
 *
 * @throws {SoakFailure} that tells the first thing that was wrong.
 */
export async function runSoak(bench: Bench, options: SoakOptions): Promise<SoakReport> {
  const world = await SoakWorld.make(bench, options);
  const until = performance.now() + 1_000 * options.seconds;
  try {
    const lives: Promise<void>[] = [world.disturb(bench, until)];
    for (let tenant = 0; tenant < options.tenants; tenant++) {
      for (let number = 0; number < options.clients; number++) {
        lives.push(live(new SoakClient(world, tenant, number), until));
      }
    }
    // One tenant more, who means harm.
    lives.push(live(new SoakClient(world, options.tenants, 0), until, hijacks));
    await Promise.all(lives);
    if (world.failure !== null) throw world.failure;
    await world.checkInbox(bench);
    const report = world.report();
    await world.front[Symbol.asyncDispose]();
    return report;
  } catch (error) {
    await world.proxy.stop(0);
    throw error;
  }
}

/** @param only the step that this client takes; any when left out. */
async function live(client: SoakClient, until: number, only?: Step): Promise<void> {
  const { world, random } = client;
  const goesOn = () => performance.now() < until && world.failure === null;
  try {
    while (goesOn()) {
      try {
        await client.connect();
        for (let left = random.integer(1, STEPS_MAX); left > 0 && goesOn(); left--) {
          if (client.kept && random.chance(0.4)) break;
          const [name, step] = only === undefined ? chosen(client) : ["hijacks", only] as const;
          client.note(name);
          world.steps[name] = (world.steps[name] ?? 0) + 1;
          await step(client);
          if (random.chance(0.1)) await pause(client, 10);
        }
        const [name, end] = random.pick(ENDINGS);
        client.note(name);
        await end(client);
      } catch (error) {
        if (!(error instanceof Disconnected)) throw error;
        client.note("was disconnected");
      }
      client.close();
    }
  } catch (error) {
    client.fail(error);
  }
  client.close();
}

function chosen(client: SoakClient): [string, Step] {
  let at = client.random.integer(1, WEIGHT);
  for (const [name, weight, step] of STEPS) {
    at -= weight;
    if (at <= 0) return [name, step];
  }
  throw new Error("the weights do not add up");
}
