import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import {
  cli,
  firstModel,
  publish,
  rollback,
  type ServedModel,
  secondModel,
  serveModel,
} from '../../hack/demo/publish.ts';
import { QUESTION } from '../../hack/demo/snapshot.ts';
import { terminalProgress } from '../../hack/lib/index.ts';
import { Load } from './load.ts';
import { ENGINE_MS, e2e, eventually, RUNTIME } from './setup.ts';

const nameOf = (model: ServedModel): string => `${model.name}:${model.version}`;

/** The lines of the agent's execution record, oldest first. */
const executionRecord = async (): Promise<{ kind: string; at: number; data: Record<string, unknown> }[]> => {
  const text = await e2e().inPod(
    'agent',
    `const fs = require('fs'), d = '/state/record/';
     for (const f of fs.readdirSync(d).sort((a, b) => parseInt(a) - parseInt(b))) process.stdout.write(fs.readFileSync(d + f))`,
  );
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
};

describe('a snapshot that adds a model and retires the one in use', () => {
  const [first, second] = [firstModel(RUNTIME), secondModel(RUNTIME)];

  const published = async (): Promise<number> => (await e2e().get('rnet', 'demo')).status.version;
  const stateInCluster = async (model: ServedModel): Promise<string | undefined> => {
    const { items } = JSON.parse(await e2e().k('get', 'amodel', '-o', 'json'));
    return items.find(
      (m: { spec: { name: string; version: string } }) => `${m.spec.name}:${m.spec.version}` === nameOf(model),
    )?.spec.state;
  };
  const stateOnNode = async (model: ServedModel): Promise<string | undefined> =>
    (await e2e().get('rnode', 'demo-0')).status.agent.models.find((m: { model: string }) => m.model === nameOf(model))
      ?.state;
  /** Waits until the node serves the model under the given version of the configuration. */
  const moved = (to: ServedModel, version: number): Promise<unknown> =>
    eventually(
      `${nameOf(to)} is served`,
      async () => {
        const node = await e2e().get('rnode', 'demo-0');
        const network = await e2e().get('rnet', 'demo');
        const serving = node.status.conditions.find((c: { type: string }) => c.type === 'Serving');
        return (
          node.status.agent.models.some(
            (m: { model: string; state: string }) => m.model === nameOf(to) && m.state === 'active',
          ) &&
          network.status.version === version &&
          node.status.agent.config.applied === network.status.digest &&
          serving?.status === 'True'
        );
      },
      ENGINE_MS,
      async () => JSON.stringify((await e2e().get('rnode', 'demo-0')).status),
    );
  /** An answer of the model, its receipt verified offline. */
  const provedAnswer = (model: ServedModel): Promise<string> =>
    e2e().installed.withApi(async (api) => {
      const answer = await api.ask({ model: nameOf(model), ...QUESTION }, true);
      expect(answer.text).to.contain(model.expect);
      const { target, installed } = e2e();
      const [receipt, output] = [join(target.dir, 'r.json'), join(target.dir, 'o.txt')];
      writeFileSync(receipt, await api.receipts(answer.job));
      writeFileSync(output, answer.output ?? '');
      return cli('cli', [
        'receipt',
        'verify',
        receipt,
        '--root',
        join(installed.dir, 'roots/1.json'),
        '--output',
        output,
      ]);
    });

  it('moves the node over under load and loses nothing; a signed rollback brings the first back', async function () {
    this.timeout(2 * ENGINE_MS + 300_000);
    const { installed, target, k, get } = e2e();
    await serveModel(target.dir, second, terminalProgress());
    const before = await published();
    const digests = [(await get('rnet', 'demo')).status.digest];
    await installed.withApi(async (api) => {
      const load = new Load(api, [nameOf(first), nameOf(second)], 4);
      try {
        await publish(installed, [{ ...first, state: 'inactive' }, second]);
        await moved(second, before + 1);
        digests.push((await get('rnet', 'demo')).status.digest);
        expect(await stateInCluster(first)).to.equal('inactive');
        expect(await stateInCluster(second)).to.equal('active');
        expect(await stateOnNode(first)).to.equal('inactive');
        expect((await k('get', 'rnode', 'demo-0', '--no-headers')).trim()).to.contain(nameOf(second));
        expect(await provedAnswer(second)).to.contain(nameOf(second));

        await rollback(installed, before);
        await moved(first, before + 2);
        digests.push((await get('rnet', 'demo')).status.digest);
        expect(await stateInCluster(first)).to.equal('active');
        expect(await stateInCluster(second), 'mirrors of unlisted models go').to.equal(undefined);
        expect(await provedAnswer(first)).to.contain(nameOf(first));
      } finally {
        await load.settle('two moves under load');
      }
      expect(load.answered(nameOf(first)).length, 'answers of the first').to.be.greaterThan(0);
      expect(load.answered(nameOf(second)).length, 'answers of the second').to.be.greaterThan(0);
    });
    expect(new Set(digests).size).to.equal(3);
    const applied = (await executionRecord()).filter((line) => line.kind === 'config.applied');
    expect(applied.map((line) => line.data.digest).slice(-2)).to.deep.equal(digests.slice(-2));
    for (const line of applied) expect(line.data.signers).to.have.lengthOf.at.least(2);
  });
});
