import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { firstModel } from '../../hack/demo/publish.ts';
import { QUESTION } from '../../hack/demo/snapshot.ts';
import { ENGINE_MS, e2e, eventually, RUNTIME } from './setup.ts';

const flip = (file: string): (() => void) => {
  const bytes = readFileSync(file);
  const at = Math.floor(bytes.length / 2);
  const bad = Buffer.from(bytes);
  bad[at] = (bad[at] ?? 0) ^ 1;
  writeFileSync(file, bad);
  return () => writeFileSync(file, bytes);
};

describe('what is refused, and heals', () => {
  it('a model file with one byte changed: DigestMismatch, out of rotation, active again when the file is right', async () => {
    const { target, k, get, installed } = e2e();
    const file = join(target.dir, 'models', firstModel(RUNTIME).folder, 'model.safetensors');
    const restore = flip(file);
    try {
      await k('delete', 'pod', 'demo-0', '--timeout=120s'); // the models volume is ephemeral: it is fetched again
      await eventually(
        'the node says DigestMismatch',
        async () => {
          const node = await get('rnode', 'demo-0');
          const verified = node.status.conditions.find((c: { type: string }) => c.type === 'ModelsVerified');
          return verified?.status === 'False' && verified.reason === 'DigestMismatch';
        },
        180_000,
        () => k('get', 'rnode', 'demo-0', '-o', 'jsonpath={.status}'),
      );
      await installed.withApi(async (api) => {
        const refused = await api.ask({ model: installed.model, ...QUESTION }, false).catch((e: Error) => e.message);
        expect(refused).to.contain('503');
      });
    } finally {
      restore();
    }
    await eventually(
      'Ready after the file was mended',
      async () => (await e2e().condition('rnode', 'demo-0', 'Ready')).status === 'True',
      ENGINE_MS,
      () => k('get', 'rnode', 'demo-0', '-o', 'jsonpath={.status}'),
    );
  });

  it('a network that does not exist: NetworkNotFound, healed when it appears', async () => {
    const { apply, condition, k, get } = e2e();
    const node = (name: string, spec: object): object => ({
      apiVersion: 'resultity.com/v1alpha1',
      kind: 'ResultityNode',
      metadata: { name },
      spec: { networkRef: { name: 'later' }, owner: { email: 'a@example.com' }, paused: true, ...spec },
    });
    await apply(node('early', {}));
    try {
      await eventually(
        'NetworkNotFound',
        async () => (await condition('rnode', 'early', 'Ready')).reason === 'NetworkNotFound',
      );
      const demo = await get('rnet', 'demo');
      await apply({ apiVersion: demo.apiVersion, kind: demo.kind, metadata: { name: 'later' }, spec: demo.spec });
      await eventually('healed', async () => (await condition('rnode', 'early', 'Ready')).reason !== 'NetworkNotFound');
    } finally {
      await k('delete', 'rnode', 'early', '--timeout=120s');
      await k('delete', 'rnet', 'later', '--ignore-not-found', '--timeout=60s');
    }
  });
  it('a model that is not approved and an address with a wrong checksum: conditions that say so', async () => {
    const { apply, condition, k } = e2e();
    const base = { apiVersion: 'resultity.com/v1alpha1', kind: 'ResultityNode' };
    await apply({
      ...base,
      metadata: { name: 'wrong-model' },
      spec: { networkRef: { name: 'demo' }, owner: { email: 'a@example.com' }, models: { assigned: 'no-such:v1' } },
    });
    await apply({
      ...base,
      metadata: { name: 'wrong-owner' },
      spec: { networkRef: { name: 'demo' }, owner: { wallet: '0x52908400098527886E0F7030069857D2E4169eE7' } },
    });
    try {
      await eventually(
        'ModelNotApproved',
        async () => (await condition('rnode', 'wrong-model', 'Ready')).reason === 'ModelNotApproved',
      );
      await eventually(
        'OwnerInvalid',
        async () => (await condition('rnode', 'wrong-owner', 'Ready')).reason === 'OwnerInvalid',
      );
      expect((await condition('rnode', 'wrong-owner', 'Ready')).message).to.match(/checksum/);
    } finally {
      await k('delete', 'rnode', 'wrong-model', 'wrong-owner', '--timeout=60s');
    }
  });
});
