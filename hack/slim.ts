import type { Plugin } from 'esbuild';

/**
 * What the programs use of undici: its clients. The package's own index loads fetch, caches, mocks and web sockets with it,
 * which costs each process some 10 MiB and 30 ms (docs/agent.md, What it needs). An import of anything else does not build.
 */
const UNDICI = `
import Agent from 'undici/lib/dispatcher/agent.js';
import Dispatcher from 'undici/lib/dispatcher/dispatcher.js';
import ProxyAgent from 'undici/lib/dispatcher/proxy-agent.js';
import api from 'undici/lib/api/index.js';
import { getGlobalDispatcher } from 'undici/lib/global.js';
Object.assign(Dispatcher.prototype, api);
const request = (url, { dispatcher = getGlobalDispatcher(), ...options } = {}) => {
  const { origin, pathname, search } = new URL(url);
  return dispatcher.request({ method: options.body ? 'PUT' : 'GET', ...options, origin, path: pathname + search });
};
export { Agent, Dispatcher, ProxyAgent, request };
`;

/** An ESM import of node:http reads every property of it, and some of them load Node's own copy of undici: 50 ms, 5 MiB. */
const HTTP = `module.exports = process.getBuiltinModule('node:http');`;

/** Of the Kubernetes client its kubeconfig, and of what that pulls in (every API of the cluster, 18 MB) the two names it uses. */
const KUBECONFIG = `export { KubeConfig } from '@kubernetes/client-node/dist/config.js';`;
const KUBE_GEN = `
export { createConfiguration } from '@kubernetes/client-node/dist/gen/configuration.js';
export { ServerConfiguration } from '@kubernetes/client-node/dist/gen/servers.js';
`;

const CONTENTS: Readonly<Record<string, string>> = {
  undici: UNDICI,
  http: HTTP,
  locales: 'export {};',
  kubeconfig: KUBECONFIG,
  kubeGen: KUBE_GEN,
};

/**
 * Leaves out of the bundles what no program reaches: most of undici (the package and Node's own), and the error texts of
 * zod in 50 languages.
 */
export const slim: Plugin = {
  name: 'slim',
  setup(build) {
    // a package that asks for undici (the operator's Kubernetes client) gets the whole of it
    build.onResolve({ filter: /^undici$/ }, ({ importer }) =>
      importer.includes('/node_modules/@') ? undefined : { path: 'undici', namespace: 'slim' },
    );
    build.onResolve({ filter: /\/locales\/index\.js$/ }, ({ importer }) =>
      importer.includes('/zod/') ? { path: 'locales', namespace: 'slim' } : undefined,
    );
    build.onResolve({ filter: /^node:http$/ }, ({ kind }) =>
      kind === 'import-statement' ? { path: 'http', namespace: 'slim' } : undefined,
    );
    build.onResolve({ filter: /^@kubernetes\/client-node$/ }, () => ({ path: 'kubeconfig', namespace: 'slim' }));
    build.onResolve({ filter: /^\.\/gen\/index\.js$/ }, ({ importer }) =>
      importer.endsWith('/client-node/dist/config.js') ? { path: 'kubeGen', namespace: 'slim' } : undefined,
    );
    build.onLoad({ filter: /.*/, namespace: 'slim' }, ({ path }) => ({
      contents: CONTENTS[path] ?? '',
      resolveDir: import.meta.dirname,
    }));
  },
};
