// Invalidation: what a notification on the channel pgvpd_invalidate says, and what it is about.

import type { Value } from "./resolution.ts";

/** What was asked, as far as a notification can name it. */
export interface Asked {
  readonly database: string;
  readonly resolver: string;
  readonly inputs: readonly Value[];
}

/** Which answers an event makes worthless; what is null means any. */
export interface Invalidation {
  readonly database: string | null;
  readonly resolver: string | null;
  readonly inputs: readonly Value[] | null;
}

/** The payload for everything. */
const EVERYTHING = "*";

/**
 * Reads a payload: `*`, the name of a resolver, or a JSON array of the name and the inputs. What
 * cannot be read means everything: too much is asked again, and no right stays.
 */
export function parseInvalidation(database: string, payload: string): Invalidation {
  const everything = { database, resolver: null, inputs: null };
  if (payload === EVERYTHING || payload === "") return everything;
  if (!payload.startsWith("[")) return { database, resolver: payload, inputs: null };
  try {
    const [resolver, ...inputs]: unknown[] = JSON.parse(payload);
    const areTexts = inputs.every((input) => input === null || typeof input === "string");
    if (typeof resolver !== "string" || !areTexts) return everything;
    return { database, resolver, inputs: inputs.length === 0 ? null : inputs as Value[] };
  } catch {
    return everything;
  }
}

/** Whether an answer to this question is worthless after the event. */
export function concerns(event: Invalidation, { database, resolver, inputs }: Asked): boolean {
  if (event.database !== null && event.database !== database) return false;
  if (event.resolver !== null && event.resolver !== resolver) return false;
  if (event.inputs === null) return true;
  return event.inputs.length !== inputs.length ||
    event.inputs.every((input, index) => loose(input) === loose(inputs[index]!));
}

/**
 * One value may be written in several ways (a uuid in capitals, 007), and the trigger that tells of
 * it writes another than the client. Too many answers forgotten are asked again; one too few is a
 * right that stays.
 */
function loose(value: Value): string | null {
  return value === null
    ? null
    : value.toLowerCase().replace(/[^\p{L}\p{N}]/gu, "").replace(/^0+(?=.)/, "");
}
