import { expect } from 'chai';
import { compareSemver } from '../src/config/index.ts';
import { facts, resultityNetwork, storedPod } from '../test/support/node-facts.ts';
import { parseFlags } from './flags.ts';
import { chooseRuntime, resolveImage } from './images.ts';
import { extendedRequests, slimPod } from './inventory.ts';
import { sizeSummary } from './model/decide.ts';
import { bounded, keySecretName, modelLabel, modelName } from './names.ts';
import { decideNetwork } from './network/decide.ts';
import { NetworkViews } from './network/view.ts';
import { reasonOfCode } from './reasons.ts';

const digest = `sha256:${'a'.repeat(64)}`;

describe('operator: images', () => {
  it('takes images by digest inside an allowed repository or below it, and names what is wrong otherwise', () => {
    const ok = (image: string, pulledFrom: string[]): boolean =>
      resolveImage('agent', image, { pulledFrom, listed: undefined }).ok;
    expect(ok(`ghcr.io/x/agent@${digest}`, ['ghcr.io/x'])).to.equal(true);
    expect(ok(`ghcr.io/x/agent:1@${digest}`, ['ghcr.io/x/agent'])).to.equal(true);
    expect(ok(`ghcr.io/xy/agent@${digest}`, ['ghcr.io/x'])).to.equal(false);
    expect(ok('ghcr.io/x/agent:1', ['ghcr.io/x'])).to.equal(false);
    expect(ok(`ghcr.io/x/agent@${digest}`, [])).to.equal(false);
    expect(resolveImage('agent', 'ghcr.io/x:1', { pulledFrom: ['ghcr.io'], listed: undefined }))
      .to.have.property('message')
      .that.contains('by digest');
  });
  it('judges the listed name by the network’s list, and what is pulled by the operator’s', () => {
    const judge = (pulledFrom: string[], listed?: string[]) =>
      resolveImage('agent', `ghcr.io/x/agent@${digest}`, {
        pulledFrom,
        listed,
        mirrors: [{ from: 'ghcr.io', to: 'mirror:5000/ghcr' }],
      });
    expect(judge(['mirror:5000'], ['ghcr.io/x'])).to.include({ ok: true, image: `mirror:5000/ghcr/x/agent@${digest}` });
    expect(judge(['mirror:5000'])).to.include({ ok: true });
    expect(judge(['mirror:5000'], ['ghcr.io/y']))
      .to.have.property('message')
      .that.contains('add it to images.allowedRepositories');
    expect(judge(['ghcr.io'], ['ghcr.io/x']), 'a network cannot widen what the cluster’s administrator allows')
      .to.have.property('message')
      .that.contains('mirror:5000/ghcr/x/agent is not allowed in this cluster')
      .and.contains('operator.allowedRepositories');
  });
  it('takes the newest runtime that the model allows', () => {
    const all = ['0.9.1', '0.32.0', '0.10.0'].map((version) => ({ engine: 'vllm', version, accelerator: 'cpu' }));
    expect(chooseRuntime(all, 'cpu')?.version).to.equal('0.32.0');
    expect(chooseRuntime(all, 'cpu', '1.0')).to.equal(undefined);
    expect(compareSemver('0.10', '0.9.9')).to.equal(1);
    expect(chooseRuntime([{ engine: 'vllm', version: '0.32.0rc1', accelerator: 'cpu' }], 'cpu', '0.32.0')).to.equal(
      undefined,
    );
  });
});

describe('operator: names', () => {
  it('hashes what is too long, and never just cuts it', () => {
    const [a, b] = [bounded(`${'x'.repeat(80)}a`), bounded(`${'x'.repeat(80)}b`)];
    expect(a).to.have.length.at.most(63).and.not.equal(b);
    expect(bounded('gpu-a')).to.equal('gpu-a');
    expect(keySecretName('gpu-a', `0x${'AB'.repeat(20)}`)).to.equal(`gpu-a-0x${'ab'.repeat(20)}`);
  });
  it('makes names and labels of models that the API server takes', () => {
    expect(modelName('testnet', 'org/Model.X:v1')).to.match(/^testnet-org-model-x-v1-[0-9a-f]{8}$/);
    expect(modelName('testnet', 'a/b:1')).to.not.equal(modelName('testnet', 'a-b:1'));
    expect(modelLabel('org/model:v1')).to.match(/^[A-Za-z0-9][A-Za-z0-9._-]*$/);
  });
});

describe('operator: flags', () => {
  it('takes the command line before the environment, and both before the default', () => {
    const flags = parseFlags(['--log-level=debug', '--allowed-repositories=a, b'], {
      RESULTITY_LOG_LEVEL: 'warn',
      RESULTITY_METRICS_PORT: '9000',
    });
    expect(flags).to.deep.include({
      'log-level': 'debug',
      'metrics-port': 9000,
      'allowed-repositories': ['a', 'b'],
      'leader-election': true,
    });
  });
  it('names the flag that is wrong', () => {
    expect(() => parseFlags(['--metrics-port=x'], {})).to.throw('--metrics-port');
    expect(() => parseFlags(['--nope'], {})).to.throw('known are');
  });
});

describe('operator: what the cache keeps of pods', () => {
  it('is what decisions need of ours, and only the GPUs of others', () => {
    const pod = storedPod(facts());
    const ours = slimPod(() => true)(pod);
    expect(ours.metadata?.annotations).to.deep.equal(pod.metadata?.annotations);
    expect(extendedRequests(ours)).to.deep.equal({ 'nvidia.com/gpu': 1 });
    const other = slimPod(() => false)(pod);
    expect(extendedRequests(other)).to.deep.equal({ 'nvidia.com/gpu': 1 });
    expect(JSON.stringify(other).length).to.be.lessThan(1_000);
  });
});

describe('operator: networks', () => {
  it('says what is missing before anything is fetched', () => {
    const base = {
      now: 0,
      network: resultityNetwork(),
      ca: { kind: 'none' } as const,
      outcome: { kind: 'notTried' } as const,
      accepted: undefined,
      inForce: undefined,
    };
    const d = decideNetwork({ ...base, pinned: { kind: 'missing', message: 'there is no ConfigMap "x"' } });
    expect(d.status.conditions?.find((c) => c.type === 'Ready')).to.include({ status: 'False', reason: 'RootMissing' });
    expect(d.events.map((e) => e.reason)).to.deep.equal(['RootMissing']);
    const ca = decideNetwork({
      ...base,
      pinned: { kind: 'text', text: '{}' },
      ca: { kind: 'missing', message: 'no CA' },
    });
    expect(ca.status.conditions?.find((c) => c.type === 'ConfigVerified')).to.include({ reason: 'CABundleInvalid' });
  });
  it('takes no node out of sight for one lost answer', () => {
    const views = new NetworkViews();
    const id = `0x${'01'.repeat(20)}` as const;
    const told: unknown[] = [];
    views.subscribe((change) => told.push(change));
    const status = {
      node: id,
      state: 'active' as const,
      reasons: [],
      floor: { epoch: 1, version: 1 },
      lastHeartbeatAgeMs: 1,
      incarnation: 1,
    };
    views.setSight('n/t', { nodes: new Map([[id, status]]), asked: new Set([id]), error: undefined });
    const lost = { nodes: new Map(), asked: new Set([id]), error: 'gone' };
    views.setSight('n/t', lost);
    views.setSight('n/t', lost);
    expect(views.sight('n/t', id).kind).to.equal('seen');
    views.setSight('n/t', lost);
    expect(views.sight('n/t', id).kind).to.equal('unreachable');
    expect(told).to.have.length(2);
  });
  it('reads the agent’s codes as reasons of the registry', () => {
    expect(reasonOfCode('DigestMismatch', 'Unknown')).to.equal('DigestMismatch');
    expect(reasonOfCode('not_admitted', 'Unknown')).to.equal('NotAdmitted');
    expect(reasonOfCode('threshold_not_met', 'Unknown')).to.equal('SignatureInvalid');
    expect(reasonOfCode('nonsense', 'Waiting')).to.equal('Waiting');
  });
});

describe('operator: sizes', () => {
  it('are told in a few characters', () => {
    expect([0, 999, 273_000_000, 1_500_000, 65_000_000_000].map(sizeSummary)).to.deep.equal([
      '0 B',
      '999 B',
      '273 MB',
      '1.5 MB',
      '65 GB',
    ]);
  });
});
