import { expect } from 'chai';
import { SignerKit, testModel } from '../../test/support/signer-kit.ts';
import { intersect, parseSnapshotDocument, type SnapshotDocument } from '../config/index.ts';
import { type PlanFacts, planOf } from './plan.ts';
import { againAfterMs, type PlanFailure } from './plan-steps.ts';

const kit = new SignerKit();
const A = `sha256:${'a'.repeat(64)}`;
const B = `sha256:${'c'.repeat(64)}`;
const runtime = (digest: string, version = '0.32.0') => ({
  engine: 'vllm',
  version,
  image: `registry.example/vllm@${digest}`,
  accelerator: 'cpu',
});
const document = (over: Record<string, unknown>): SnapshotDocument => {
  kit.version = 0;
  return parseSnapshotDocument(kit.publish({ models: [testModel()], ...over }).bytes);
};
const old = document({});
const withB = document({ runtimes: [runtime(B)], models: [testModel(), testModel('other')] });
const facts = (over: Partial<PlanFacts>): PlanFacts => ({
  accepted: withB,
  effective: null,
  assigned: 'tiny:v1',
  running: undefined,
  served: undefined,
  held: false,
  failure: null,
  images: { runtime: `mirror.example/vllm@${A}` },
  version: '0.1.0',
  engineArgs: {},
  ...over,
});
/** What is planned, in one line. */
const told = (over: Partial<PlanFacts>): string => {
  const plan = planOf(facts(over));
  const what = plan.kind === 'serve' ? `serve ${plan.model.ref}` : `none${plan.stop ? ', stop' : ''}`;
  return plan.obstacle ? `${what}: ${plan.obstacle.reason}` : what;
};

describe('what the engine shall do', () => {
  const effective = intersect(old, withB);
  const gone = intersect(old, document({ runtimes: [runtime(B)], models: [testModel('other')] }));
  const tooNew = document({ agent: { ...old.agent, minVersion: '0.2.0' } });
  const needsMore = document({
    models: [testModel('tiny', { engine: { name: 'vllm', minVersion: '0.33.0', args: {} } })],
  });
  const args = (more: object): SnapshotDocument =>
    document({ models: [testModel('tiny', { engine: { name: 'vllm', minVersion: '0.18.0', args: more } })] });
  const longer = args({ 'max-model-len': 65_536 });
  const remote = args({ 'trust-remote-code': true });
  const both = document({ models: [testModel(), testModel('other')] });
  const only = document({ models: [testModel('other')] });
  const next = { ...both, version: both.version + 1 };
  const failureOf = (accepted: SnapshotDocument, assigned = 'tiny:v1'): PlanFailure => {
    const plan = planOf(facts({ accepted, assigned, images: { runtime: 'dev' } }));
    if (plan.kind !== 'serve') throw new Error(plan.why);
    return { key: plan.key, ref: assigned, step: 'switch', reason: 'KVCacheTooSmall', why: 'too small' };
  };
  const cases: [string, Partial<PlanFacts>, string][] = [
    ['nothing while no configuration is accepted', { accepted: null }, 'none'],
    ['the assigned model when the images are there', { accepted: old }, 'serve tiny:v1'],
    ['the same by the digest alone, whatever a mirror calls it', { images: { runtime: `x/y@${B}` } }, 'serve tiny:v1'],
    ['the same outside containers', { images: { runtime: 'dev' } }, 'serve tiny:v1'],
    ['nothing on a foreign image when nothing was applied', {}, 'none, stop: ImageMismatch'],
    ['the applied model on the old image', { effective }, 'serve tiny:v1: ImageMismatch'],
    [
      'the model in the engine when the assigned one needs the new image',
      { effective, assigned: 'other:v1', running: 'tiny:v1' },
      'serve tiny:v1: ImageMismatch',
    ],
    [
      'nothing when the new configuration took the model away',
      { effective: gone, assigned: 'other:v1', running: 'tiny:v1' },
      'none, stop: ImageMismatch',
    ],
    ['nothing when the listed image is too old for the model', { accepted: needsMore }, 'none, stop: ImageMismatch'],
    ['nothing when the agent is too old, and the engine stays', { accepted: tooNew, effective }, 'none: VersionTooOld'],
    [
      'what runs while the assigned one is not known here yet',
      { accepted: old, assigned: 'b:v1', running: 'tiny:v1' },
      'serve tiny:v1',
    ],
    ['nothing when the assigned one is unknown and nothing runs', { accepted: old, assigned: 'b:v1' }, 'none, stop'],
    [
      'the way back, with the old arguments, when the new ones did not work',
      { accepted: longer, effective: intersect(old, longer), served: 'tiny:v1', failure: failureOf(longer) },
      'serve tiny:v1: KVCacheTooSmall',
    ],
    [
      'the way back to another model',
      {
        accepted: both,
        effective: intersect(old, both),
        assigned: 'other:v1',
        served: 'tiny:v1',
        failure: failureOf(both, 'other:v1'),
      },
      'serve tiny:v1: KVCacheTooSmall',
    ],
    [
      'the failed one again when the new configuration took the old one away',
      {
        accepted: only,
        effective: intersect(old, only),
        assigned: 'other:v1',
        served: 'tiny:v1',
        failure: failureOf(only, 'other:v1'),
      },
      'serve other:v1',
    ],
    [
      'the failed one again when nothing was served before',
      { accepted: longer, effective: intersect(old, longer), failure: failureOf(longer) },
      'serve tiny:v1',
    ],
    [
      'the new one when what failed was another plan',
      { accepted: longer, effective: intersect(old, longer), served: 'tiny:v1', failure: failureOf(old) },
      'serve tiny:v1',
    ],
    [
      'the old one when an argument of the new one is refused',
      { accepted: remote, effective: intersect(old, remote), served: 'tiny:v1' },
      'serve tiny:v1: ArgumentRefused',
    ],
    [
      'what is applied while a person holds the node there',
      { accepted: next, effective: old, held: true },
      'serve tiny:v1: Held',
    ],
    ['the newest, held or not, when nothing was applied', { accepted: next, held: true }, 'serve tiny:v1'],
    ['nothing without an assignment', { accepted: old, assigned: undefined }, 'none, stop'],
  ];
  for (const [what, over, expected] of cases)
    it(`is ${what}`, () => {
      expect(told(over)).to.equal(expected);
    });
});

describe('a plan that failed', () => {
  const HOUR = 3_600_000;
  it('is tried again soon where that costs nothing, and late where the old model would have to leave the engine', () => {
    expect([1, 2, 3, 40].map((n) => againAfterMs('prefetch', n, 1_000, true))).to.deep.equal([
      1_000, 2_000, 4_000, 300_000,
    ]);
    expect(againAfterMs('switch', 1, 1_000, false)).to.equal(1_000);
    expect([1, 2, 40].map((n) => againAfterMs('test', n, 1_000, true))).to.deep.equal([HOUR / 4, HOUR / 2, 6 * HOUR]);
  });
});
