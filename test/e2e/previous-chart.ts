import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { programPath } from '../../hack/cluster/index.ts';
import { SYSTEM_NAMESPACE } from '../../hack/demo/names.ts';
import { execOk, repoRoot } from '../../hack/lib/index.ts';
import { e2e } from './setup.ts';

export const CHART = join(repoRoot, 'charts/resultity-operator');
/** The chart of the release before, packed (docs/release.md). It is installed with today's image. */
const PREVIOUS = join(import.meta.dirname, 'fixtures/resultity-operator-0.1.0.tgz');

/** Between these times, in milliseconds of the wall clock, the operator had the rights of the previous chart, not today's. */
export const previousRights = { since: Number.POSITIVE_INFINITY, until: Number.NEGATIVE_INFINITY };

const RELEASE = ['resultity', '-n', SYSTEM_NAMESPACE] as const;

/** `helm upgrade` to this chart with the values that were given so far; waits until it is up. */
export const upgradeTo = (chart: string, ...more: string[]): Promise<string> =>
  e2e().target.helm([
    ...['upgrade', RELEASE[0], chart, ...RELEASE.slice(1)],
    ...['--reset-then-reuse-values', '--wait', '--timeout', '180s', ...more],
  ]);

/** Puts the previous chart in place of today's, with those of today's values that it knows. */
export const installPrevious = async (): Promise<void> => {
  const { target } = e2e();
  const { image, operator, networkService } = JSON.parse(
    await target.helm(['get', 'values', ...RELEASE, '-o', 'json']),
  );
  const file = join(target.dir, 'previous-values.json');
  writeFileSync(file, JSON.stringify({ image, operator, networkService }));
  previousRights.since = Date.now();
  await target.helm(['upgrade', RELEASE[0], PREVIOUS, ...RELEASE.slice(1), '--reset-values', '--values', file]);
};

export const rollBack = (): Promise<string> => e2e().target.helm(['rollback', ...RELEASE]);

/** This chart as a release to come: nothing but its versions is other. @returns the path of the archive */
export const nextVersion = async (): Promise<string> => {
  const { dir } = e2e().target;
  const { appVersion } = parse(readFileSync(join(CHART, 'Chart.yaml'), 'utf8')) as { appVersion: string };
  await execOk([
    programPath('helm'),
    'package',
    CHART,
    '-d',
    dir,
    '--version',
    '99.0.0',
    '--app-version',
    `${appVersion}-next`,
  ]);
  return join(dir, 'resultity-operator-99.0.0.tgz');
};
