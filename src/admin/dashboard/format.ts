// How the dashboard writes numbers and times.

const COUNT = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const FEW = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const BYTE_UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];
const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** A number of things, or of things per second: one decimal below ten. */
export function count(value: number): string {
  return (value < 10 ? FEW : COUNT).format(value);
}

/** @param milliseconds null: there was nothing to measure. */
export function duration(milliseconds: number | null): string {
  if (milliseconds === null) return "–";
  return milliseconds < 1_000 ? `${count(milliseconds)} ms` : `${count(milliseconds / 1_000)} s`;
}

/** In powers of a thousand. */
export function bytes(value: number): string {
  let [size, unit] = [value, 0];
  while (size >= 1_000 && unit < BYTE_UNITS.length - 1) [size, unit] = [size / 1_000, unit + 1];
  return `${count(size)} ${BYTE_UNITS[unit]}`;
}

/** How long ago something was, in its largest unit. */
export function age(since: Date, now: Date): string {
  const seconds = Math.max(0, Math.floor((now.getTime() - since.getTime()) / 1_000));
  if (seconds < MINUTE) return `${seconds} s`;
  if (seconds < HOUR) return `${Math.floor(seconds / MINUTE)} min`;
  if (seconds < DAY) return `${Math.floor(seconds / HOUR)} h`;
  return `${Math.floor(seconds / DAY)} d`;
}
