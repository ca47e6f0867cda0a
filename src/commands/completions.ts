// `pgvpd completions`: scripts for shells, made from the commands and options that there are.

import type { Command } from "commander";

/** Shells that a script can be made for. */
export const COMPLETION_SHELLS = ["bash", "zsh", "fish"];

/** The words that may follow each path of commands: "" for pgvpd itself, "config check" … */
function wordsByPath(program: Command): Map<string, string[]> {
  const words = new Map<string, string[]>();
  const visit = (command: Command, path: string) => {
    const isRoot = path === "";
    const serve = program.commands.find((child) => child.name() === "serve");
    const options = [...command.options, ...isRoot && serve ? serve.options : []];
    words.set(path, [
      ...command.commands.map((child) => child.name()),
      ...command.registeredArguments.flatMap((argument) => argument.argChoices ?? []),
      ...new Set(options.flatMap((option) => option.long ?? [])),
      "--help",
    ]);
    for (const child of command.commands) visit(child, `${path} ${child.name()}`.trim());
  };
  visit(program, "");
  return words;
}

/** The completion script for a shell. */
export function completions(shell: string, program: Command): string {
  const words = [...wordsByPath(program)];
  if (shell === "fish") return fish(words);
  const cases = words.map(([path, list]) => `    "${path}") words="${list.join(" ")}" ;;`);
  const commands = words.flatMap(([path]) => path === "" ? [] : [`"${path}"`]).join("|");
  const script = `_pgvpd() {
  local path="" word words
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    word="\${path:+$path }$word" # an option or its value makes no command
    case "$word" in ${commands}) path="$word" ;; esac
  done
  case "$path" in
${cases.join("\n")}
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _pgvpd pgvpd`;
  return shell === "zsh" ? `autoload -U +X bashcompinit && bashcompinit\n${script}` : script;
}

function fish(words: readonly (readonly [path: string, list: readonly string[]])[]): string {
  const lines = words.map(([path, list]) => {
    const condition = path === ""
      ? "__fish_use_subcommand"
      : path.split(" ").map((word) => `__fish_seen_subcommand_from ${word}`).join("; and ");
    return `complete -c pgvpd -n '${condition}' -a '${list.join(" ")}'`;
  });
  return ["complete -c pgvpd -f", ...lines].join("\n");
}
