import { Argument, Command } from 'commander';
import { type ClusterFlags, clusterOptions, withCluster } from './cluster.ts';
import { KIND } from './kinds.ts';
import type { Io } from './program.ts';

const SHELLS = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof SHELLS)[number];

/** One command of the tree: where it stands, what can follow. */
interface Entry {
  /** Words that lead to it, without the program's name. */
  readonly path: readonly string[];
  readonly summary: string;
  readonly commands: readonly string[];
  readonly options: readonly string[];
  /** Its argument is a ResultityNode. */
  readonly nodes: boolean;
}

/** `completion SHELL`: a script made from the command tree, so that it cannot lag behind it. */
export const completionCommand = (io: Io, root: () => Command): Command =>
  new Command('completion')
    .description('print a completion script: source <(kubectl resultity completion bash)')
    .addArgument(new Argument('<shell>', 'for which shell').choices(SHELLS))
    .action((shell: Shell) => io.out(script(shell, entries(root())).trimEnd()));

/** Hidden: the names that completion offers. Says nothing where the cluster does not answer. */
export const nodeNamesCommand = (io: Io): Command =>
  clusterOptions(new Command('__nodes')).action((flags: ClusterFlags) =>
    withCluster(io, flags, async (cluster) => {
      for (const node of await cluster.list(KIND.node)) io.out(node.metadata.name ?? '');
    }).catch(() => undefined),
  );

/**
 * Hidden: what kubectl asks of a program kubectl_complete-resultity: the words so far, the last one unfinished. Answers one
 * candidate a line and `:4` (no file names), as kubectl's own library does.
 */
export const candidatesCommand = (io: Io, root: () => Command): Command =>
  new Command('__complete')
    .argument('[words...]')
    .helpOption(false)
    .allowUnknownOption()
    .action(async (words: string[]) => {
      const [last = ''] = words.slice(-1);
      const all = entries(root());
      let at = all[0];
      for (const word of words.slice(0, -1))
        at = all.find((e) => e.path.join(' ') === [...(at?.path ?? []), word].join(' ')) ?? at;
      const offer = last.startsWith('-') ? (at?.options ?? []) : (at?.commands ?? []);
      for (const word of offer) if (word.startsWith(last)) io.out(word);
      if (at?.nodes === true && !last.startsWith('-'))
        await withCluster(io, {}, async (cluster) => {
          for (const { metadata } of await cluster.list(KIND.node))
            if (metadata.name?.startsWith(last)) io.out(metadata.name);
        }).catch(() => undefined);
      io.out(':4');
    });

const entries = (command: Command, path: readonly string[] = []): Entry[] => {
  const visible = command.commands.filter((c) => !c.name().startsWith('_'));
  return [
    {
      path,
      summary: command.description(),
      commands: visible.map((c) => c.name()),
      options: [...command.options.flatMap((o) => [o.long ?? [], o.short ?? []].flat()), '--help'],
      nodes: command.registeredArguments.some((a) => a.name() === 'node'),
    },
    ...visible.flatMap((c) => entries(c, [...path, c.name()])),
  ];
};

const NAMES = 'kubectl-resultity __nodes 2>/dev/null';

const script = (shell: Shell, all: readonly Entry[]): string => {
  switch (shell) {
    case 'bash':
      return bash(all);
    case 'zsh':
      return `#compdef kubectl-resultity resultity\nautoload -U +X bashcompinit && bashcompinit\n${bash(all)}`;
    case 'fish':
      return fish(all);
  }
};

/** The words before the cursor that are no options name the command; for `kubectl resultity` kubectl asks kubectl_complete-resultity. */
const bash = (all: readonly Entry[]): string => `_resultity() {
  local word="\${COMP_WORDS[COMP_CWORD]}" at="" offer="" w i
  for ((i = 1; i < COMP_CWORD; i++)); do
    w="\${COMP_WORDS[i]}"
    case "\${at:+$at }$w" in
${all
  .filter((e) => e.path.length > 0)
  .map((e) => `      '${e.path.join(' ')}') at='${e.path.join(' ')}' ;;`)
  .join('\n')}
    esac
  done
  case "$at" in
${all.map((e) => `    '${e.path.join(' ')}') offer='${[...e.commands, ...e.options].join(' ')}'${e.nodes ? `; [[ $word == -* ]] || offer="$offer $(${NAMES})"` : ''} ;;`).join('\n')}
  esac
  COMPREPLY=($(compgen -W "$offer" -- "$word"))
}
complete -F _resultity resultity kubectl-resultity
`;

const quoted = (text: string): string => `'${text.replaceAll("'", "\\'")}'`;

const fish = (all: readonly Entry[]): string =>
  ['resultity', 'kubectl-resultity']
    .flatMap((program) =>
      all.flatMap((e) => {
        const seen = e.path.map((word) => `__fish_seen_subcommand_from ${word}`);
        const none = e.commands.length === 0 ? [] : [`not __fish_seen_subcommand_from ${e.commands.join(' ')}`];
        const when = [...seen, ...none].join('; and ');
        const base = `complete -c ${program} -f${when === '' ? '' : ` -n ${quoted(when)}`}`;
        return [
          ...e.commands.map(
            (name) =>
              `${base} -a ${name} -d ${quoted(all.find((x) => x.path.join(' ') === [...e.path, name].join(' '))?.summary ?? '')}`,
          ),
          ...e.options.map((o) => `${base} ${o.startsWith('--') ? `-l ${o.slice(2)}` : `-s ${o.slice(1)}`}`),
          ...(e.nodes ? [`${base} -a '(${NAMES})'`] : []),
        ];
      }),
    )
    .join('\n');
