/** Where Kubernetes' own kinds are found, for `resource`: each program reads other parts of their objects. */
export const BUILTIN = {
  pod: { group: '', version: 'v1', plural: 'pods', kind: 'Pod' },
  secret: { group: '', version: 'v1', plural: 'secrets', kind: 'Secret' },
  configMap: { group: '', version: 'v1', plural: 'configmaps', kind: 'ConfigMap' },
  node: { group: '', version: 'v1', plural: 'nodes', kind: 'Node', namespaced: false },
} as const;
