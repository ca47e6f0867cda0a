// Plans that EXPLAIN (FORMAT JSON) gives: whether what they read is bound to a condition.

interface Node {
  readonly [key: string]: unknown;
  readonly Plans?: readonly Node[];
}

/** Fields of a node that keep rows away. */
const CONDITIONS = ["Filter", "Index Cond", "Recheck Cond", "TID Cond"];
/** What reads the context, where a policy does not name the tenant's column. */
const READER = /pgvpd\.ctx|current_tenant_id|pgvpd_context|current_setting/;

/**
 * Whether every relation that the query itself reads has a condition: on one of these columns, or
 * one that reads the context. Without columns any condition will do. What policies read in
 * sub-SELECTs is not looked at.
 *
 * @param json what EXPLAIN says; see https://www.postgresql.org/docs/current/sql-explain.html
 */
export function hasCondition(json: string, columns: readonly string[]): boolean {
  const [top] = JSON.parse(json) as [{ Plan: Node }];
  return scansOf(top.Plan).every((scan) => {
    const conditions = [scan, ...scan.Plans ?? []].flatMap(conditionsOf);
    return conditions.some((condition) =>
      columns.length === 0 || columns.some((column) => names(condition, column)) ||
      READER.test(condition)
    );
  });
}

/** Whether the column's name stands there as a word of its own. */
function names(condition: string, column: string): boolean {
  const name = column.replaceAll('"', '""').replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
  return new RegExp(`(?<![\\p{L}\\p{N}_$])${name}(?![\\p{L}\\p{N}_$])`, "u").test(condition);
}

function scansOf(node: Node): Node[] {
  if (["InitPlan", "SubPlan"].includes(String(node["Parent Relationship"]))) return [];
  if (node["Relation Name"] !== undefined) return [node];
  return (node.Plans ?? []).flatMap(scansOf);
}

function conditionsOf(node: Node): string[] {
  return CONDITIONS.map((key) => node[key]).filter((value) => typeof value === "string");
}
