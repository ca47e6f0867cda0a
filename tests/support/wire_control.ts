// The Control of a proxy under test, without a process around it.

import type { Control, Operator } from "../../src/control.ts";
import { Histogram } from "../../src/meters.ts";
import type { Act } from "../../src/server_control.ts";
import type { Front } from "./wire_bench.ts";

export const TESTER: Operator = { name: "tester", from: "127.0.0.1:1", via: "http" };

export function controlOf({ proxy }: Front, acts: Act[] = []): Control {
  return proxy.controlIn({
    ...{ version: "test", startedAt: new Date(), eventLoopDelay: new Histogram() },
    ...{ settings: () => [], certificates: () => [], auditLost: () => 0 },
    reload: () => ({ problems: [], changes: 0 }),
    ...{ drain: () => {}, setLogLevel: () => {} },
    acted: (act) => void acts.push(act),
  });
}
