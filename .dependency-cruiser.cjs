// The layers of docs/architecture.md: imports go down only.
//   lib <- api, kube, protocol <- config, models, runtime, placement <- agent, network, cli, operator
const low = '^src/lib/';
const rule = (name, from, allowed) => ({
  name,
  severity: 'error',
  comment: `${from} may import only itself and ${allowed.join(', ')}`,
  from: { path: from, pathNot: '\\.test\\.ts$' },
  to: { path: '^(src|operator|hack|test)/', pathNot: [from, ...allowed].join('|') },
});
const middle = ['^src/api/', '^src/kube/', '^src/protocol/'];
const parts = ['^src/config/', '^src/models/', '^src/runtime/', '^src/placement/'];
/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    rule('lib-imports-nothing', low, []),
    rule('api-layer', '^src/api/', [low]),
    rule('kube-layer', '^src/kube/', [low]),
    rule('protocol-layer', '^src/protocol/', [low]),
    ...parts.map((p) => rule(`${p.split('/')[1]}-layer`, p, [low, ...middle])),
    ...['^src/agent/', '^src/network/', '^src/cli/', '^operator/'].map((p) =>
      rule(`${p.replace(/[\^/]|src/g, '')}-layer`, p, [low, ...middle, ...parts]),
    ),
    { name: 'no-circular', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'product-imports-no-tests',
      severity: 'error',
      comment: 'product code never reaches into test/ or hack/',
      from: { path: '^(src|operator)/', pathNot: '\\.test\\.ts$' },
      to: { path: '^(test|hack)/' },
    },
    {
      name: 'no-dev-dependency-in-product',
      severity: 'error',
      from: { path: '^(src|operator)/', pathNot: '\\.test\\.ts$' },
      to: { dependencyTypes: ['npm-dev'] },
    },
  ],
  options: { doNotFollow: { path: 'node_modules' }, tsPreCompilationDeps: true, parser: 'swc', tsConfig: { fileName: 'tsconfig.json' } },
};
