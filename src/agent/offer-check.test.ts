import { expect } from 'chai';
import type { JobOffer, RejectCode } from '../protocol/index.ts';
import { checkOffer, engineRequest, type OfferLoad, type OfferRules } from './offer-check.ts';

const digest = (c: string): `sha256:${string}` => `sha256:${c.repeat(64)}`;
const offer: JobOffer = {
  jobId: 'j',
  attempt: 2,
  kind: 'chat.completions',
  model: 'm:v1',
  modelDigest: digest('1'),
  configDigest: digest('a'),
  stream: true,
  priority: 5,
  deadline: 1_000,
  request: { model: 'm:v1', messages: [], max_tokens: 5 },
};
const rules: OfferRules = {
  now: 0,
  draining: false,
  paused: false,
  configs: [
    { digest: digest('a'), modelDigest: () => digest('1') },
    { digest: digest('b'), modelDigest: () => digest('1') },
    { digest: digest('c'), modelDigest: () => digest('2') },
  ],
  model: { ref: 'm:v1', digest: digest('1'), tasks: ['chat.completions'], active: true, loaded: true },
  subclouds: ['eu'],
  global: true,
  maxOutputTokens: 100,
};
const load: OfferLoad = { highestAttempt: 1, open: 0, slots: 1, queue: 1 };
const model = rules.model!;

/** Each row breaks one rule more; a row's code must win over all the later ones. */
const rows: [RejectCode, Partial<JobOffer>, Partial<OfferRules>, Partial<OfferLoad>][] = [
  ['expired', { deadline: 0 }, {}, {}],
  ['draining', {}, { draining: true }, {}],
  ['paused', {}, { paused: true }, {}],
  ['config_mismatch', { configDigest: digest('f') }, {}, {}],
  ['model_not_active', {}, { model: { ...model, active: false } }, {}],
  ['wrong_subcloud', { subcloud: 'us' }, {}, {}],
  ['stale_attempt', {}, {}, { highestAttempt: 2 }],
  ['invalid_request', { request: { messages: 'x' } }, {}, {}],
  ['at_capacity', {}, {}, { open: 2 }],
  ['not_ready', {}, { model: { ...model, loaded: false } }, {}],
];

describe('judging an offer', () => {
  it('accepts a good one, also by the configuration before if the model is the same in both', () => {
    expect(checkOffer(offer, rules, load).ok).to.equal(true);
    expect(checkOffer({ ...offer, configDigest: digest('b') }, rules, load).ok).to.equal(true);
  });
  for (const [at, [code, o, r, l]] of rows.entries())
    it(`answers ${code}, and before everything that comes after it`, () => {
      expect(checkOffer({ ...offer, ...o }, { ...rules, ...r }, { ...load, ...l })).to.include({ ok: false, code });
      const later = rows.slice(at + 1).reduce(
        (all, row) =>
          [
            { ...row[1], ...all[0] },
            { ...row[2], ...all[1] },
            { ...row[3], ...all[2] },
          ] as const,
        [o, r, l] as const,
      );
      expect(checkOffer({ ...offer, ...later[0] }, { ...rules, ...later[1] }, { ...load, ...later[2] })).to.include({
        code,
      });
    });
  it('answers config_mismatch for another model digest, in the offer or between two configurations', () => {
    expect(checkOffer({ ...offer, modelDigest: digest('2') }, rules, load)).to.include({ code: 'config_mismatch' });
    const old = { ...offer, configDigest: digest('c'), modelDigest: digest('2') };
    expect(checkOffer(old, rules, load)).to.include({ code: 'config_mismatch' });
  });
  it('answers model_not_active for a kind that the model does not do', () => {
    expect(checkOffer({ ...offer, kind: 'embeddings' }, rules, load)).to.include({ code: 'model_not_active' });
  });
  it('refuses more output than the configuration allows, and asks for the cap where nothing is said', () => {
    const greedy = { ...offer, request: { messages: [], max_tokens: 101 } };
    expect(checkOffer(greedy, rules, load)).to.include({ code: 'invalid_request' });
    expect(engineRequest({ ...offer, request: { messages: [] } }, 100)).to.include({ max_tokens: 100, model: 'm:v1' });
    expect(engineRequest(offer, 100)).to.include({ max_tokens: 5 });
  });
});
