import { readdirSync, readFileSync } from 'node:fs';
import { parse } from 'yaml';
import type { ApiServer } from './api-server.ts';
import { until } from './until.ts';

/** Creates the resources of crds/ on a real API server, and waits until it serves each of them. */
export const installCrds = async (api: Pick<ApiServer, 'call'>): Promise<void> => {
  const definitions = readdirSync('crds')
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => parse(readFileSync(`crds/${file}`, 'utf8')));
  for (const definition of definitions)
    await api.call('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', definition);
  for (const { spec } of definitions) {
    const path = `/apis/${spec.group}/${spec.versions[0].name}/${spec.names.plural}`;
    await until(`${spec.names.plural} are served`, async () => (await api.call('GET', path)).status === 200, 20_000);
  }
};
