import { fileURLToPath } from 'node:url';
import { parseAllDocuments } from 'yaml';
import { ensurePrograms, programPath } from '../../hack/cluster/binaries.ts';
import { execOk, quietProgress } from '../../hack/lib/index.ts';

export const CHART = fileURLToPath(new URL('../../charts/resultity-operator', import.meta.url));

/** A rendered object; tests read it field by field. */
export interface Rendered {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly annotations?: Record<string, string>;
  };
  // biome-ignore lint/suspicious/noExplicitAny: any Kubernetes object
  readonly [field: string]: any;
}

/** The chart's manifests for `--set` values, release `resultity` in namespace resultity-system. */
export const renderChart = async (...sets: string[]): Promise<Rendered[]> => {
  await ensurePrograms(['helm'], quietProgress);
  const text = await execOk([
    programPath('helm'),
    'template',
    'resultity',
    CHART,
    '--namespace',
    'resultity-system',
    ...sets.flatMap((s) => ['--set', s]),
  ]);
  return parseAllDocuments(text)
    .map((d) => d.toJS() as Rendered | null)
    .filter((d): d is Rendered => d !== null);
};

/** Path of an object's collection in the API, for the kinds that the chart holds. */
export const collectionPath = (o: Pick<Rendered, 'apiVersion' | 'kind'>, namespace?: string): string => {
  const plural = o.kind.endsWith('y') ? `${o.kind.slice(0, -1)}ies` : `${o.kind}${o.kind.endsWith('s') ? 'es' : 's'}`;
  const base = o.apiVersion.includes('/') ? `/apis/${o.apiVersion}` : `/api/${o.apiVersion}`;
  return `${base}${namespace ? `/namespaces/${namespace}` : ''}/${plural.toLowerCase()}`;
};
