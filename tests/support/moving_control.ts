// A Control whose tenants and traffic a test changes while it looks.

import type { TenantView } from "../../src/control.ts";
import { NO_TRAFFIC, type Traffic } from "../../src/meters.ts";
import { type FakeControl, fakeControl, NO_TOTALS } from "./fake_control.ts";

export interface MovingControl extends FakeControl {
  readonly shown: { tenants: TenantView[]; traffic: Traffic };
}

/** Three clients are connected, and nothing goes on. */
export function movingControl(): MovingControl {
  const shown: MovingControl["shown"] = { tenants: [], traffic: NO_TRAFFIC };
  const control: FakeControl = fakeControl({
    poolMode: "transaction",
    totals: () => ({ ...NO_TOTALS, connectionsActive: 3, traffic: shown.traffic }),
    tenants: () => shown.tenants,
    refusals: () => control.meters.refusals.items,
  });
  return Object.assign(control, { shown });
}
