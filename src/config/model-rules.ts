import {
  filesProblem,
  hostListed,
  isSecureSource,
  KINDS,
  type Kind,
  modelDigest,
  type Sha256,
} from '../protocol/index.ts';
import type { ModelAdminState, ModelEntry, RawModel } from './model-entry.ts';

/** What the owner's own configuration allows beyond https and loopback: hosts inside the cluster, as `host` or `host:port`. */
export interface JudgeOptions {
  readonly insecureHosts?: readonly string[] | undefined;
}

export type Judged =
  | { readonly ok: true; readonly entry: ModelEntry }
  | { readonly ok: false; readonly reason: string };

const STATES: readonly string[] = ['active', 'inactive', 'archived'] satisfies ModelAdminState[];
const MAX_REGEX = 1024;

/** Judges one model's content. The types are known to be right. Total: it never throws. */
export const judgeModel = (raw: RawModel, trustedSources: readonly string[], options: JudgeOptions = {}): Judged => {
  const reason = problemOf(raw, trustedSources, options);
  if (reason !== undefined) return { ok: false, reason };
  const entry: ModelEntry = {
    ...raw,
    ref: `${raw.name}:${raw.version}`,
    digest: raw.digest as Sha256,
    state: raw.state as ModelAdminState,
    tasks: raw.tasks as Kind[],
    engine: { ...raw.engine, name: 'vllm' },
    weight: raw.weight ?? 1,
  };
  return { ok: true, entry };
};

const problemOf = (m: RawModel, trusted: readonly string[], options: JudgeOptions): string | undefined => {
  if (!/^[a-z0-9][a-z0-9._/-]{0,127}$/.test(m.name)) return 'name is malformed';
  if (!/^[A-Za-z0-9._-]{1,63}$/.test(m.version)) return 'version is malformed';
  if (!/^sha256:[0-9a-f]{64}$/.test(m.digest)) return 'digest is malformed';
  if (!STATES.includes(m.state)) return `state "${m.state.slice(0, 40)}" is unknown`;
  if (m.engine.name !== 'vllm') return `engine "${m.engine.name.slice(0, 40)}" is unknown`;
  const task = m.tasks.find((t) => !(KINDS as readonly string[]).includes(t));
  if (task !== undefined) return `task "${task.slice(0, 40)}" is unknown`;
  if (m.tasks.length === 0) return 'lists no tasks';
  const file = m.files.find((f) => !/^[0-9a-f]{64}$/.test(f.sha256));
  if (file !== undefined) return `sha256 of file "${file.path.slice(0, 80)}" is malformed`;
  const problem = filesProblem(m.files);
  if (problem !== undefined) return problem;
  if (modelDigest(m.files) !== m.digest) return 'digest is not that of the listed files';
  return expectProblem(m.test.expect) ?? sourcesProblem(m.sources, trusted, options);
};

const expectProblem = (expect: RawModel['test']['expect']): string | undefined => {
  if ((expect.contains === undefined) === (expect.regex === undefined))
    return 'test.expect must have exactly one of contains and regex';
  if (expect.regex === undefined) return undefined;
  if (expect.regex.length > MAX_REGEX) return `test.expect.regex is longer than ${MAX_REGEX} characters`;
  try {
    new RegExp(expect.regex, 'u');
    return undefined;
  } catch {
    return 'test.expect.regex is no regular expression';
  }
};

const sourcesProblem = (
  sources: readonly string[],
  trusted: readonly string[],
  options: JudgeOptions,
): string | undefined => {
  if (sources.length === 0) return 'lists no sources';
  for (const source of sources) {
    const problem = sourceProblem(source, trusted, options);
    if (problem !== undefined) return `source "${source.slice(0, 120)}" ${problem}`;
  }
  return undefined;
};

/**
 * Why a URL may not be a source, or undefined. Every redirect is judged by the same rule (`base` false: only a folder
 * must end in `/`).
 */
export const sourceProblem = (
  source: string,
  trusted: readonly string[],
  options: JudgeOptions = {},
  base = true,
): string | undefined => {
  if (!URL.canParse(source)) return 'is no URL';
  const url = new URL(source);
  if (url.username !== '' || url.password !== '') return 'carries credentials';
  if (!isSecureSource(url, options.insecureHosts ?? [])) return 'is not https';
  if (!hostListed(url, trusted)) return 'is on a host that trustedSources does not list';
  return base && (!url.pathname.endsWith('/') || url.search !== '' || url.hash !== '')
    ? 'does not end in /'
    : undefined;
};
