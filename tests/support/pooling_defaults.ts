// What a Pooling has that most tests do not care for.

import { Greetings } from "../../src/session/greetings.ts";
import type { Pooling } from "../../src/session/lending.ts";
import { TimeLimits } from "../../src/session/time_limits.ts";

export function poolingDefaults(): Pick<
  Pooling,
  | "mode"
  | "greetings"
  | "limits"
  | "functionCallsAllowed"
  | "sessionState"
  | "preparedStatementsMax"
> {
  return {
    mode: "session",
    greetings: new Greetings(),
    limits: new TimeLimits({
      clientIdleTimeout: null,
      idleTransactionTimeout: null,
      transactionTimeout: null,
    }),
    functionCallsAllowed: false,
    sessionState: "pin",
    preparedStatementsMax: 200,
  };
}
