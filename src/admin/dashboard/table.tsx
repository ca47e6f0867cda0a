// Tables of the dashboard: rows with a key, so that the page changes only what has changed.

import type { Child } from "hono/jsx";
import type { Listed } from "./listing.ts";

/** A column of a table. */
export interface Column<Row> {
  readonly title: string;
  readonly isNumber?: boolean;
  readonly cell: (row: Row) => Child;
}

interface TableProps<Row> {
  readonly caption: string;
  /** What is said when there are no rows. */
  readonly none: string;
  readonly listed: Listed<Row>;
  /** Tells a row from all others. */
  readonly keyOf: (row: Row) => string;
  /** The first one names the row. */
  readonly columns: readonly [Column<Row>, ...Column<Row>[]];
}

export function Table<Row>({ caption, none, listed, keyOf, columns }: TableProps<Row>) {
  const { rows, total } = listed;
  if (rows.length === 0) return <p class="none">{none}</p>;
  const [name, ...others] = columns;
  const classOf = (column: Column<Row>) => column.isNumber === true ? "number" : undefined;
  return (
    <>
      <table>
        <caption>{caption}</caption>
        <thead>
          <tr>
            {columns.map((column) => <th scope="col" class={classOf(column)}>{column.title}</th>)}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr data-key={keyOf(row)}>
              <th scope="row">{name.cell(row)}</th>
              {others.map((column) => <td class={classOf(column)}>{column.cell(row)}</td>)}
            </tr>
          ))}
        </tbody>
      </table>
      {total > rows.length ? <p class="more">and {total - rows.length} more</p> : null}
    </>
  );
}

interface SparkProps {
  readonly values: readonly number[];
  /** How many values there are when there are all. */
  readonly length: number;
}

const [SPARK_WIDTH, SPARK_HEIGHT] = [100, 20];

/** A line without numbers: they stand beside it, so it is nothing to a screen reader. */
export function Spark({ values, length }: SparkProps) {
  const highest = Math.max(...values, 0);
  const x = (index: number) => SPARK_WIDTH * (length - values.length + index) / (length - 1);
  const y = (value: number) => SPARK_HEIGHT - 1 - (SPARK_HEIGHT - 2) * value / highest;
  const points = highest === 0
    ? ""
    : values.map((value, index) => `${x(index).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  return (
    <svg
      class="spark"
      viewBox={`0 0 ${SPARK_WIDTH} ${SPARK_HEIGHT}`}
      preserveAspectRatio="none"
      aria-hidden="true"
    >
      <polyline points={points} />
    </svg>
  );
}

interface ActionProps {
  readonly path: string;
  readonly label: string;
  /** The whole sentence: for the dialog and for who cannot see the row. */
  readonly question: string;
}

/** A button that has the page send a POST, once its question has been answered. */
export function Action({ path, label, question }: ActionProps) {
  return (
    <button type="button" data-path={path} data-question={question} aria-label={question}>
      {label}
    </button>
  );
}
