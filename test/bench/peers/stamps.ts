import { type KubeObject, resource } from '../../../src/kube/index.ts';

export interface Stamp extends KubeObject {
  readonly spec?: { readonly stamp?: string };
  readonly status?: { readonly stamp?: string };
}
export interface ConfigMap extends KubeObject {
  readonly data?: Readonly<Record<string, string>>;
}

export const stamps = resource<Stamp>({ group: 'bench.resultity.com', version: 'v1', plural: 'stamps', kind: 'Stamp' });
export const configMaps = resource<ConfigMap>({ group: '', version: 'v1', plural: 'configmaps', kind: 'ConfigMap' });

const text = { type: 'object', properties: { stamp: { type: 'string' } } };

export const stampCrd = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'stamps.bench.resultity.com' },
  spec: {
    group: stamps.group,
    scope: 'Namespaced',
    names: { plural: stamps.plural, kind: stamps.kind },
    versions: [
      {
        name: stamps.version,
        served: true,
        storage: true,
        subresources: { status: {} },
        schema: { openAPIV3Schema: { type: 'object', properties: { spec: text, status: text } } },
      },
    ],
  },
};
