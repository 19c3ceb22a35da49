import { exec } from './lib/index.ts';

/** A check of the whole tree: a name that says what it proves, and the command that proves it. */
export interface Check {
  readonly name: string;
  readonly argv: readonly string[];
}

/** Everything that is not a test: each fails when what it guards is broken. */
export const CHECKS: readonly Check[] = [
  { name: 'types (tsc)', argv: ['tsc', '-p', '.'] },
  { name: 'lint and format (biome)', argv: ['biome', 'check', '--error-on-warnings', '.'] },
  {
    name: 'layers (dependency-cruiser)',
    argv: ['depcruise', '--config', '.dependency-cruiser.cjs', 'src', 'operator'],
  },
  { name: 'dead code (knip)', argv: ['knip'] },
  { name: 'generated files are current', argv: ['node', 'hack/generate.ts', '--check'] },
  { name: 'chart (helm-unittest, kube-score)', argv: ['node', 'hack/chart.ts'] },
];

/** Runs one check; the answer is its output when it failed, undefined when it passed. */
export const runCheck = async (check: Check): Promise<string | undefined> => {
  const { code, stdout, stderr } = await exec(check.argv);
  return code === 0 ? undefined : `${stdout}\n${stderr}`.trim() || `exit code ${code}`;
};
