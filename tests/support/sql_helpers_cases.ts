// The tables of cases that tests/wire/helpers_acl_test.ts walks through.

const A = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
const B = "b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a22";

/** A context's text, and the items of pgvpd_context_array(); null: no array. */
export const LISTS: readonly [text: string, items: readonly (string | null)[] | null][] = [
  ["", null],
  ["a", ["a"]],
  ["a,b,c", ["a", "b", "c"]],
  [" a , b,\tc \n", ["a", "b", "c"]],
  ["a b, c", ["a b", "c"]],
  ["a,,b,", ["a", "b"]],
  [",", []],
  ['it\'s,"q",\\', ["it's", '"q"', "\\"]],
  ["a}", ["a}"]],
  ["{a,b,c}", ["a", "b", "c"]],
  [' { a , "b, c" ,x y } ', ["a", "b, c", "x y"]],
  [String.raw`{"a\"b","c\\d","","{}"}`, ['a"b', "c\\d", "", "{}"]],
  ['{a,NULL,"NULL"}', ["a", null, "NULL"]],
  ["{}", []],
  ["{ }", []],
  ['{ü,"日本, 語"}', ["ü", "日本, 語"]],
  // What begins like a literal and is none counts for nothing.
  ["{", null],
  ["{a", null],
  ["{a,}", null],
  ["{a}b", null],
  ["{{a},{b}}", null],
  ['{"a}', null],
  ['{a"b}', null],
  ["{a\\}", null],
  ["{a},{b}", null],
];

/** A context's text, and the items of pgvpd_context_uuid_array(). */
export const UUID_LISTS: readonly [text: string, items: readonly string[] | null][] = [
  ["", null],
  [A, [A]],
  [`${A},${B}`, [A, B]],
  [`${A} , ${B.toUpperCase()}`, [A, B]],
  [`{${A},${B}}`, [A, B]],
  [`{"${B}",NULL,${A}}`, [B, A]],
  [`{${A}}`, [A]],
  [A.replaceAll("-", ""), [A]],
  [`${A},nonsense,${A}0,'; DROP TABLE x`, [A]],
  ["nonsense", []],
  [`{${A}`, null],
];

/** Arguments of pgvpd_protect_acl() that it must refuse, and words of message and hint. */
export const ACL_REFUSALS: readonly [paths: string, words: RegExp][] = [
  ["null", /paths: an array with at least one path, not null\n.*owner_id/],
  ["{}", /paths: an array with at least one path, not \{\}/],
  ["[]", /paths: an array with at least one path/],
  ['"text"', /paths: an array/],
  ["[1]", /paths\[0\]: an object with column, var and type, not 1/],
  ['[{"var": "app.x", "type": "text"}]', /paths\[0\]\.column: it is missing/],
  ['[{"column": "owner", "type": "text"}]', /paths\[0\]\.var: it is missing/],
  ['[{"column": "owner", "var": "app.x"}]', /paths\[0\]\.type: it is missing/],
  ['[{"column": null, "var": "app.x", "type": "text"}]', /paths\[0\]\.column: a text .*not null/],
  ['[{"column": "owner", "var": " ", "type": "text"}]', /paths\[0\]\.var: a text .*not " "/],
  ['[{"column": "owner", "var": "app.x", "type": 7}]', /paths\[0\]\.type: a text .*not 7/],
  [
    '[{"column": "owner", "var": "app.x", "type": "text"},' +
    ' {"column": "owner", "var": "app.x", "type": "uid"}]',
    /paths\[1\]\.type: "uid" is none of text, uuid, text_array, uuid_array/,
  ],
  [
    '[{"column": "owner", "var": "app.x", "type": "text", "wehn": "true"}]',
    /paths\[0\]: there is no key "wehn"; the keys are column, var, type, when, commands/,
  ],
  ['[{"column": "nope", "var": "app.x", "type": "text"}]', /\.column: table public\.cases has no/],
  ['[{"column": "ctid", "var": "app.x", "type": "text"}]', /\.column: table .* has no column ctid/],
  ['[{"column": "owner", "var": "role", "type": "text"}]', /\.var: "role" is not the name/],
  ['[{"column": "owner", "var": "app.x\') OR true --", "type": "text"}]', /\.var: .* is not/],
  [
    '[{"column": "owner", "var": "app.x", "type": "uuid"}]',
    /\.type: column owner is of type text, not uuid; write "text"/,
  ],
  [
    '[{"column": "number", "var": "app.x", "type": "uuid_array"}]',
    /\.type: column number is of type integer, not uuid; write "text_array"/,
  ],
  ...[
    ["[]", /\.commands: some of select/],
    ['"select"', /\.commands: some of select/],
    ['["truncate"]', /\.commands: some of select, insert, update, delete in an array/],
    ['["select", null]', /\.commands/],
    ['["select", 1]', /\.commands/],
  ].map(([commands, words]): [string, RegExp] => [
    `[{"column": "owner", "var": "app.x", "type": "text", "commands": ${commands}}]`,
    words as RegExp,
  ]),
];

/** Conditions that "when" must refuse. */
export const BAD_CONDITIONS: readonly [condition: string, words: RegExp][] = [
  ["true) OR (true", /paths\[0\]\.when: syntax error at or near "\)"/],
  ["true THEN true ELSE true", /\.when: syntax error/],
  ["true THEN true END OR CASE WHEN true", /\.when: syntax error/],
  ["true /*", /\.when: unterminated \/\* comment/],
  ["'", /\.when: unterminated quoted string/],
  ["$a$", /\.when: unterminated dollar-quoted string/],
  ["true; DROP TABLE cases", /\.when: syntax error/],
  ["true UNION SELECT true", /\.when: syntax error/],
  ["nope = 1", /\.when: column "nope" does not exist\n.*columns of public\.cases: nope = 1/],
  ["nope()", /\.when: function nope\(\) does not exist/],
  ["owner", /\.when: .*must be type boolean/],
  ["1, 2", /\.when: syntax error/],
  ["SELECT true", /\.when: syntax error/],
  ["count(*) > 0", /\.when: aggregate functions are not allowed/],
  ["row_number() OVER () > 0", /\.when: window functions are not allowed/],
  ["generate_series(1, 2) > 0", /\.when: set-returning functions are not allowed/],
  ["$1", /\.when: there is no parameter \$1/],
];

/** Conditions with loose operators, comments and brackets, each true for no row here. */
export const LOOSE_CONDITIONS: readonly string[] = [
  "false OR pgvpd_context('app.is_admin') = 'yes'",
  "false -- a comment",
  "false /* ) */",
  "(false) OR (false)",
  "NOT (true OR false)",
  "owner = ')' OR owner = '('",
  "number = 4711 OR cases.number = 4712",
  "EXISTS (SELECT FROM pg_catalog.pg_class WHERE relname = 'no such table')",
];
