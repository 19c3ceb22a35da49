import { existsSync, globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { parse } from 'yaml';
import { fleetConditions, modelConditions, networkConditions, nodeConditions } from '../../src/api/conditions.ts';
import { ANNOTATION, LABEL } from '../../src/api/contract.ts';
import { buildProgram as buildPlugin } from '../../src/cli/index.ts';
import { buildProgram as buildNetwork } from '../../src/network/commands/index.ts';
import { repoRoot } from '../lib/index.ts';

const io = {
  out: () => {},
  err: () => {},
  stdin: async () => '',
  color: false,
  now: () => 0,
  signal: new AbortController().signal,
};
const read = (path: string): string => readFileSync(join(repoRoot, path), 'utf8');
/** What stands for something that the reader puts in. */
const placeholder = (word: string): boolean => /…|^[A-Z][A-Z_.,/:@-]*\d*$|^<.*>$/.test(word);

/** The problem of a command line, or undefined; null where nothing here can tell. `inline` may leave arguments out. */
export const problemOf = (words: readonly string[], inline: boolean): string | undefined | null => {
  const [program = '', ...args] = words;
  switch (program) {
    case 'resultity':
    case 'kubectl-resultity':
      return commanderProblem(buildPlugin(io, '0.0.0'), args, inline);
    case 'resultity-network':
      return commanderProblem(buildNetwork(io, '0.0.0'), args, inline);
    case 'kubectl':
      if (args[0] === 'resultity') return commanderProblem(buildPlugin(io, '0.0.0'), args.slice(1), inline);
      return kubectlProblem(args);
    case 'helm':
      return helmProblem(args);
    case 'npm':
      return npmProblem(args);
    case 'bash':
      return args[0] === 'hack/run' ? scriptProblem(args[1] ?? '', args.slice(2)) : null;
    case 'node':
      if (args[0] === 'dist/resultity-network.mjs') return problemOf(['resultity-network', ...args.slice(1)], inline);
      return existsSync(join(repoRoot, args[0] ?? '')) ? undefined : `there is no ${args[0]}`;
    case 'grep':
    case 'head':
    case 'tail':
    case 'sort':
      return undefined; // behind a pipe
    default:
      return null;
  }
};

const commanderProblem = (program: Command, args: readonly string[], inline: boolean): string | undefined => {
  let command = program;
  let rest = args;
  for (let next = child(command, rest); next; next = child(command, rest)) {
    command = next;
    rest = rest.slice(1);
  }
  const [first = ''] = rest;
  if (command.commands.length > 0 && first !== '' && !first.startsWith('-') && !placeholder(first))
    return `${command.name()} has no command ${first}`;
  if (command.commands.length > 0 && !inline && first === '') return `${command.name()} wants a command`;
  let positional = 0;
  for (let i = 0; i < rest.length; i++) {
    const word = rest[i] ?? '';
    if (!/^-/.test(word) || word === '-') {
      const { argChoices } = command.registeredArguments[positional++] ?? {};
      if (argChoices !== undefined && !placeholder(word) && !argChoices.includes(word)) return `${word} is no choice`;
      continue;
    }
    const option = command.options.find((o) => [o.short, o.long].includes(word.split('=')[0]));
    if (option === undefined && !['--help', '-h'].includes(word)) return `${command.name()} has no ${word}`;
    if (option?.required && !word.includes('=')) i++;
  }
  const wanted = command.registeredArguments.filter((a) => a.required).length;
  return !inline && positional < wanted ? `${command.name()}: an argument is missing` : undefined;
};
const child = (command: Command, rest: readonly string[]): Command | undefined =>
  command.commands.find((c) => c.name() === rest[0]);

/** Names by which kubectl knows our resources, and those of Kubernetes that the pages use. */
const RESOURCES: ReadonlySet<string> = new Set([
  ...globSync('crds/*.yaml', { cwd: repoRoot }).flatMap((file) => {
    const { names } = parse(read(file)).spec;
    return [names.plural, names.singular, ...names.shortNames, ...names.categories];
  }),
  ...[
    'pod',
    'pods',
    'secret',
    'secrets',
    'node',
    'nodes',
    'configmap',
    'configmaps',
    'cm',
    'namespace',
    'ns',
    'events',
  ],
  ...[
    'pvc',
    'pv',
    'svc',
    'deployment',
    'deploy',
    'statefulset',
    'sts',
    'crd',
    'pdb',
    'lease',
    'storageclass',
    'networkpolicy',
    'podmonitor',
  ],
]);
const BY_RESOURCE = [
  'get',
  'describe',
  'delete',
  'annotate',
  'label',
  'patch',
  'wait',
  'scale',
  'edit',
  'taint',
  'create',
];
const OTHER_VERBS = [
  'apply',
  'drain',
  'uncordon',
  'cordon',
  'logs',
  'exec',
  'cp',
  'port-forward',
  'rollout',
  'config',
  'version',
  'krew',
  'top',
];
const CONDITIONS = { ...nodeConditions, ...modelConditions, ...networkConditions, ...fleetConditions };
const MARKS: readonly string[] = [...Object.values(ANNOTATION), ...Object.values(LABEL)];

/** The schema of each resource by each of its names. */
const SPECS: ReadonlyMap<string, Schema> = new Map(
  globSync('crds/*.yaml', { cwd: repoRoot }).flatMap((file) => {
    const { names, versions } = parse(read(file)).spec;
    return [names.plural, names.singular, ...names.shortNames].map((name): [string, Schema] => [
      name,
      versions[0].schema.openAPIV3Schema,
    ]);
  }),
);
interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
}

const explainProblem = (path: string): string | undefined => {
  const [kind = '', ...fields] = path.split('.');
  let at = SPECS.get(kind);
  for (const field of fields) {
    at = (at?.items ?? at)?.properties?.[field];
    if (at === undefined) return `${kind} has no field ${fields.join('.')}`;
  }
  return at === undefined ? `there is no resource ${kind}` : undefined;
};

const kubectlProblem = (args: readonly string[]): string | undefined => {
  const words: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const word = args[i] ?? '';
    if (/^(-n|-l|-o|-c|-f|--namespace|--context|--kubeconfig|--selector|--timeout|--tail|--for|-p|--type)$/.test(word))
      i++;
    else if (!word.startsWith('-')) words.push(word);
  }
  const [verb = '', what = ''] = words;
  if (verb === 'explain') return explainProblem(what);
  if (!BY_RESOURCE.includes(verb) && !OTHER_VERBS.includes(verb)) return `kubectl ${verb} is not known here`;
  if (BY_RESOURCE.includes(verb) && !args.includes('-f') && !args.includes('--raw') && !placeholder(what))
    for (const kind of what.split(',').map((k) => k.split('/')[0]?.split('.')[0] ?? ''))
      if (!RESOURCES.has(kind)) return `there is no resource ${kind}`;
  const file = args[args.indexOf('-f') + 1] ?? '';
  if (args.includes('-f') && /^(hack|docs|charts|crds)\//.test(file) && !existsSync(join(repoRoot, file)))
    return `there is no ${file}`;
  for (const [mark] of args.join(' ').matchAll(/(?<![\w.])resultity\.com\/[a-z-]*[a-z]/g))
    if (!MARKS.includes(mark)) return `nothing of ours is called ${mark}`;
  for (const [, quoted, plain] of args.join(' ').matchAll(/@\.type\s*==\s*\\?"(\w+)\\?"|--for=condition=(\w+)/g)) {
    const type = quoted ?? plain ?? '';
    if (!(type in CONDITIONS)) return `there is no condition ${type}`;
  }
  return undefined;
};

const SCHEMA = parse(read('charts/resultity-operator/values.schema.json'));
const helmProblem = (args: readonly string[]): string | undefined => {
  const verbs = [
    'install',
    'upgrade',
    'rollback',
    'uninstall',
    'package',
    'push',
    'template',
    'lint',
    'history',
    'get',
    'show',
  ];
  const verb = args.find((a) => !a.startsWith('-')) ?? '';
  if (!verbs.includes(verb)) return `helm ${verb} is not known here`;
  for (const chart of args.filter((a) => a.startsWith('charts/')))
    if (!existsSync(join(repoRoot, chart))) return `there is no ${chart}`;
  if (!args.includes('charts/resultity-operator')) return undefined; // another chart's values are not known here
  for (const [i, word] of args.entries()) {
    if (word !== '--set' && word !== '--set-string' && word !== '--set-json') continue;
    for (const path of (args[i + 1] ?? '').split(/,(?=[\w.]+=)/).map((pair) => pair.split('=')[0] ?? '')) {
      let at = SCHEMA;
      for (const key of path.split('.')) {
        if (at.additionalProperties !== false && at.properties?.[key] === undefined) break;
        at = at.properties?.[key.replace(/\[\d+\]$/, '')];
        if (at === undefined) return `the chart has no value ${path}`;
      }
    }
  }
  return undefined;
};

const SCRIPTS: Record<string, string> = parse(read('package.json')).scripts;
const npmProblem = (args: readonly string[]): string | undefined => {
  const name = args[0] === 'run' ? (args[1] ?? '') : args[0] === 'test' ? 'test' : undefined;
  if (name === undefined)
    return ['ci', 'install'].includes(args[0] ?? '') ? undefined : `npm ${args[0]} is not known here`;
  const script = SCRIPTS[name];
  if (script === undefined) return `package.json has no script ${name}`;
  const [, , command = '', ...given] = script.split(' ');
  const dashes = args.indexOf('--');
  if (dashes < 0 && args.slice(name === 'test' && args[0] === 'test' ? 1 : 2).some((a) => a.startsWith('-')))
    return `npm keeps options for itself: write -- before them`;
  return scriptProblem(command, [...given, ...(dashes < 0 ? [] : args.slice(dashes + 1))]);
};

/** The options that a script of hack/ names in its parseArgs. */
const scriptProblem = (command: string, args: readonly string[]): string | undefined => {
  const file = [`hack/${command}/main.ts`, `hack/${command}.ts`].find((f) => existsSync(join(repoRoot, f)));
  if (file === undefined) return `there is no hack/${command}`;
  const source = read(file);
  for (const word of args.filter((a) => a.startsWith('--') && a !== '--').map((a) => a.slice(2).split('=')[0] ?? ''))
    if (!new RegExp(`(^|[\\s{'"])(--)?${word.replace(/^no-/, '')}['"]?[:'"]`, 'm').test(source))
      return `${file} knows no --${word}`;
  return undefined;
};
