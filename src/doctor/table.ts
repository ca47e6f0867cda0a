// The table of all checks for docs/doctor.md, made from the entries themselves.

import { CHECKS } from "./examine.ts";

const SUBJECTS: Readonly<Record<string, string>> = {
  R: "Roles",
  T: "Tables",
  P: "Policies",
  V: "Views and other relations",
  F: "Functions",
  D: "Database",
  E: "Proofs",
  X: "The ignore file",
};
const BEGIN = "<!-- The rest is written by docs/generate.ts from src/doctor/. -->\n";

/** The page with its tables made anew; what stands in front of them stays. */
export function renderDoctorPage(page: string): string {
  const intro = page.slice(0, page.indexOf(BEGIN));
  const tables = Object.entries(SUBJECTS).map(([letter, title]) => {
    const rows = CHECKS.filter(({ id }) => id.startsWith(letter)).map((
      { id, name, severity, finds, why, remedy },
    ) => `| ${id} | \`${name}\` | ${severity} | ${cell(finds)} | ${cell(why)} | ${cell(remedy)} |`);
    return [
      `### ${title}`,
      "",
      "| id | name | severity | finds | why it matters | what to do |",
      "|---|---|---|---|---|---|",
      ...rows,
    ].join("\n");
  });
  return `${intro}${BEGIN}\n${tables.join("\n\n")}\n`;
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|");
}
