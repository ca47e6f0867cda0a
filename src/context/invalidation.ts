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
  /** By database and resolver, by the shape of the inputs, by the inputs. */
  readonly #groups = new Map<string, Map<string, Map<string, Set<Item>>>>();

  add({ database, resolver, inputs }: Asked, item: Item): void {
    const [shape, key] = loosely(inputs);
    const group = entry(this.#groups, groupKey(database, resolver), () => new Map());
    entry(entry(group, shape, () => new Map()), key, () => new Set()).add(item);
  }

  remove({ database, resolver, inputs }: Asked, item: Item): void {
    const [shape, key] = loosely(inputs);
    const group = this.#groups.get(groupKey(database, resolver));
    const alike = group?.get(shape);
    const items = alike?.get(key);
    if (items === undefined || !items.delete(item) || items.size > 0) return;
    alike!.delete(key);
    if (alike!.size === 0) group!.delete(shape);
    if (group!.size === 0) this.#groups.delete(groupKey(database, resolver));
  }

  /** Where anything was asked that is in it. */
  get databases(): Set<string> {
    return new Set([...this.#groups.keys()].map((key) => JSON.parse(key)[0]));
  }

  /** Everything that the event concerns, each once. */
  find(event: Invalidation): Set<Item> {
    const found = new Set<Item>();
    const told = event.inputs?.map(loose) ?? null;
    for (const group of this.#groupsOf(event)) {
      for (const [shape, alike] of group) {
        const key = told === null ? null : keyInShape(told, shape);
        const sets = key === null ? alike.values() : [alike.get(key) ?? []];
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

/** The marks of a shape: a value with one spelling that counts, and one with several. */
const CLEAR = ".";
const AMBIGUOUS = "?";

/** Where the ambiguous inputs are, and the others. */
function loosely(inputs: readonly Value[]): [shape: string, key: string] {
  const values = inputs.map(loose);
  const shape = values.map((value) => value === undefined ? AMBIGUOUS : CLEAR).join("");
  return [shape, keyInShape(values, shape)!];
}

/**
 * What inputs are, apart from those that are ambiguous in the shape. Null: they cannot be compared,
 * as one is ambiguous that is not so there, or there is another number of them.
 */
function keyInShape(values: readonly LooseValue[], shape: string): string | null {
  if (values.length !== shape.length) return null;
  const clear = values.filter((_, index) => shape[index] === CLEAR);
  return clear.includes(undefined) ? null : JSON.stringify(clear);
}

function entry<Key, Value>(map: Map<Key, Value>, key: Key, make: () => Value): Value {
  let value = map.get(key);
  if (value === undefined) map.set(key, value = make());
  return value;
}

/** As it is compared; undefined: it may be the same as anything. */
type LooseValue = string | null | undefined;

/** A number that has a fraction or an exponent. */
const FRACTIONAL = /^[+-]?[0-9_]*(?:\.[0-9_]*)?(?:e[+-]?[0-9_]+)?$/;
/** A number with another base than ten: PostgreSQL 16 and later, and floating-point ones. */
const BASED = /^[+-]?0(?:x[0-9a-f_]*(?:\.[0-9a-f]*)?(?:p[+-]?[0-9]+)?|o[0-7_]+|b[01_]+)$/;
/** Every beginning of these that PostgreSQL takes for a boolean, and numbers that are words. */
const WORDS =
  /^(?:t|tr|tru|true|f|fa|fal|fals|false|y|ye|yes|n|no|on|of|off|[+-]?(?:inf|infinity|nan))$/;

/**
 * One value may be written in several ways (a uuid in capitals, 007), and the trigger that tells of
 * it writes another than the client. Too many answers forgotten are asked again; one too few is a
 * right that stays.
 */
function loose(value: Value): LooseValue {
  if (value === null) return null;
  const text = value.trim().toLowerCase();
  const isFractional = FRACTIONAL.test(text) && /[.e]/.test(text);
  if (isFractional || BASED.test(text) || WORDS.test(text)) return undefined;
  return text.replace(/[^\p{L}\p{N}]/gu, "").replace(/^0+(?=.)/, "");
}
