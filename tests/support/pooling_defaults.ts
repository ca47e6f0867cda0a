// What a Pooling has that most tests do not care for.

import { Greetings } from "../../src/session/greetings.ts";
import type { Pooling } from "../../src/session/lending.ts";

export function poolingDefaults(): Pick<
  Pooling,
  | "mode"
  | "greetings"
  | "functionCallsAllowed"
  | "sessionState"
  | "preparedStatementsMax"
> {
  return {
    mode: "session",
    greetings: new Greetings(),
    functionCallsAllowed: false,
    sessionState: "pin",
    preparedStatementsMax: 200,
  };
}
