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

/**
 * What hangs on answers, found by the events that make those worthless: a change of ten thousand
 * rows is ten thousand events.
 */
export class AskedIndex<Item> {
  /** By database and resolver, by number of inputs, by the inputs. */
  readonly #groups = new Map<string, Map<number, Map<string, Set<Item>>>>();

  add({ database, resolver, inputs }: Asked, item: Item): void {
    const group = entry(this.#groups, groupKey(database, resolver), () => new Map());
    const alike = entry(group, inputs.length, () => new Map());
    entry(alike, looseKey(inputs), () => new Set()).add(item);
  }

  remove({ database, resolver, inputs }: Asked, item: Item): void {
    const key = groupKey(database, resolver);
    const group = this.#groups.get(key);
    const alike = group?.get(inputs.length);
    const items = alike?.get(looseKey(inputs));
    if (items === undefined || !items.delete(item) || items.size > 0) return;
    alike!.delete(looseKey(inputs));
    if (alike!.size === 0) group!.delete(inputs.length);
    if (group!.size === 0) this.#groups.delete(key);
  }

  /** Everything that the event concerns, each once. */
  find(event: Invalidation): Set<Item> {
    const found = new Set<Item>();
    for (const group of this.#groupsOf(event)) {
      for (const [length, alike] of group) {
        // Another number of inputs is no answer to compare: it is taken for one.
        const sets = event.inputs?.length === length
          ? [alike.get(looseKey(event.inputs)) ?? []]
          : alike.values();
        for (const items of sets) for (const item of items) found.add(item);
      }
    }
    return found;
  }

  *#groupsOf({ database, resolver }: Invalidation) {
    if (database !== null && resolver !== null) {
      const group = this.#groups.get(groupKey(database, resolver));
      if (group !== undefined) yield group;
      return;
    }
    for (const [key, group] of this.#groups) {
      const [ofDatabase, ofResolver] = JSON.parse(key);
      const isMeant = (database ?? ofDatabase) === ofDatabase &&
        (resolver ?? ofResolver) === ofResolver;
      if (isMeant) yield group;
    }
  }
}

function groupKey(database: string, resolver: string): string {
  return JSON.stringify([database, resolver]);
}

function looseKey(inputs: readonly Value[]): string {
  return JSON.stringify(inputs.map(loose));
}

function entry<Key, Value>(map: Map<Key, Value>, key: Key, make: () => Value): Value {
  let value = map.get(key);
  if (value === undefined) map.set(key, value = make());
  return value;
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
