import { join } from 'node:path';
import { expect } from 'chai';
import { NODE_NAMESPACE, SYSTEM_NAMESPACE } from '../../hack/demo/names.ts';
import { repoRoot } from '../../hack/lib/index.ts';
import { Load } from './load.ts';
import { e2e, eventually } from './setup.ts';

/** Every pod of ours by namespace and name, with its uid and the restarts of its containers. */
const pods = async (): Promise<Map<string, { uid: string; restarts: number; component: string }>> => {
  const { items } = JSON.parse(await e2e().target.kubectl(['get', 'pods', '-A', '-o', 'json']));
  const ours = new Map<string, { uid: string; restarts: number; component: string }>();
  for (const { metadata, status } of items) {
    if (![SYSTEM_NAMESPACE, NODE_NAMESPACE].includes(metadata.namespace) || metadata.deletionTimestamp) continue;
    const statuses = [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])];
    ours.set(`${metadata.namespace}/${metadata.name}`, {
      uid: metadata.uid,
      restarts: statuses.reduce((sum: number, s: { restartCount: number }) => sum + s.restartCount, 0),
      component: metadata.labels?.['app.kubernetes.io/component'] ?? '',
    });
  }
  return ours;
};

describe('an upgrade of the chart', () => {
  it('and its rollback restart nothing but the operator, with jobs running all the while', async () => {
    const { installed, target } = e2e();
    const changed = async (act: () => Promise<unknown>): Promise<string[]> => {
      const before = await pods();
      await act();
      await eventually('one operator is ready', async () => {
        const text = await target.kubectl([
          ...['-n', SYSTEM_NAMESPACE, 'get', 'deployment', 'resultity', '-o'],
          'jsonpath={.status.readyReplicas} {.status.replicas} {.status.updatedReplicas}',
        ]);
        return text === '1 1 1';
      });
      const after = await pods();
      const touched: string[] = [];
      for (const [name, { uid, restarts, component }] of before) {
        const now = after.get(name);
        if (now?.uid !== uid || now.restarts !== restarts) touched.push(component);
        process.stdout.write(
          `      ${name}: ${now === undefined ? 'replaced' : now.uid !== uid ? 'made anew' : `kept, ${now.restarts - restarts} restarts`}\n`,
        );
      }
      return touched;
    };
    await installed.withApi(async (api) => {
      const load = new Load(api, [installed.model], 4);
      try {
        const upgrade = [
          ...['upgrade', 'resultity', join(repoRoot, 'charts/resultity-operator'), '-n', SYSTEM_NAMESPACE],
          ...['--reuse-values', '--set', 'operator.logLevel=debug', '--wait', '--timeout', '180s'],
        ];
        expect(await changed(() => target.helm(upgrade))).to.deep.equal(['operator']);
        const rollback = ['rollback', 'resultity', '-n', SYSTEM_NAMESPACE, '--wait', '--timeout', '180s'];
        expect(await changed(() => target.helm(rollback))).to.deep.equal(['operator']);
      } finally {
        await load.settle('helm upgrade and rollback');
      }
      expect({ refused: load.count('refused'), midStream: load.count('midStream') }).to.deep.equal({
        refused: 0,
        midStream: 0,
      });
    });
  });
});
