import { expect } from 'chai';
import fc from 'fast-check';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { isLegal, type ModelStateName } from '../models/index.ts';
import type { Sha256 } from '../protocol/index.ts';
import { ModelBook } from './model-book.ts';
import { nextOf, REPROVE_MS, type ServeFacts, testKey } from './model-next.ts';

const serving: ServeFacts = {
  now: 10,
  seal: 's',
  loaded: 1,
  engineStart: 1,
  provedAt: 5,
  passed: 'k',
  wanted: 'k',
  active: true,
};

describe('what to do next for a model', () => {
  const cases: [string, Partial<ServeFacts>, ReturnType<typeof nextOf>][] = [
    ['hold while everything is as it must be', {}, 'hold'],
    ['hash or fetch what is not hashed, whatever runs', { seal: undefined }, 'install'],
    ['load into an engine that has not', { loaded: null, provedAt: null, passed: null, active: false }, 'load'],
    ['load again when the engine is another one', { engineStart: 2 }, 'load'],
    ['not touch an engine while the launcher says nothing', { engineStart: undefined }, 'hold'],
    ['prove an engine that is not', { provedAt: null, active: false }, 'prove'],
    ['prove again after an hour', { now: 5 + REPROVE_MS }, 'prove'],
    ['test what was never tested', { passed: null, active: false }, 'test'],
    ['test again when engine, flags or files changed', { wanted: 'other' }, 'test'],
    ['become active when all of it is done', { active: false }, 'activate'],
  ];
  for (const [title, change, next] of cases)
    it(title, () => {
      expect(nextOf({ ...serving, ...change })).to.equal(next);
    });

  it('takes a test for another one when start, version, flags or files of the engine are others', () => {
    const keys = [
      testKey('plan', 1, '0.32.0', 's'),
      testKey('flags', 1, '0.32.0', 's'),
      testKey('plan', 2, '0.32.0', 's'),
      testKey('plan', 1, '0.33.0', 's'),
      testKey('plan', 1, '0.32.0', 't'),
    ];
    expect(new Set(keys).size).to.equal(keys.length);
    expect(testKey('plan', 1, '0.32.0', 's')).to.equal(keys[0]);
  });

  it('comes to hold from anything, in at most one step of each kind', () => {
    const some = fc.record({
      now: fc.nat(2 * REPROVE_MS),
      seal: fc.option(fc.constantFrom('s', 't'), { nil: undefined }),
      loaded: fc.option(fc.nat(2)),
      engineStart: fc.option(fc.nat(2), { nil: undefined }),
      provedAt: fc.option(fc.nat(REPROVE_MS)),
      passed: fc.option(fc.constantFrom('a', 'b')),
      wanted: fc.constantFrom('a', 'b'),
      active: fc.boolean(),
    });
    const done: Record<string, (f: ServeFacts) => Partial<ServeFacts>> = {
      install: () => ({ seal: 's' }),
      load: (f) => ({ loaded: f.engineStart ?? 1, engineStart: f.engineStart ?? 1, provedAt: null, active: false }),
      prove: (f) => ({ provedAt: f.now }),
      test: (f) => ({ passed: f.wanted }),
      activate: () => ({ active: true }),
    };
    fc.assert(
      fc.property(some, (start) => {
        let facts: ServeFacts = start;
        const steps: string[] = [];
        for (let next = nextOf(facts); next !== 'hold'; next = nextOf(facts)) {
          steps.push(next);
          facts = { ...facts, ...done[next]?.(facts) };
          expect(new Set(steps).size, steps.join()).to.equal(steps.length);
        }
      }),
    );
  });
});

describe('the book of models', () => {
  it('shows only legal transitions, whatever happens to which model in which order', () => {
    const model = { ref: 'm:v1', digest: `sha256:${'a'.repeat(64)}` as Sha256 };
    const rule = { retryMs: 1_000, capMs: 60_000 };
    const events: ((book: ModelBook) => void)[] = [
      (b) => b.begin(model, 'downloading', { percent: 10 }),
      (b) => b.begin(model, 'testing'),
      (b) => b.tested(model, { ms: 1, engine: '0', at: 0 }),
      (b) => b.pass(model),
      (b) => b.fail(model, 'DigestMismatch', rule),
      (b) => b.rest(model, 'NotAssigned'),
      (b) => b.rest(model, 'Disabled'),
      (b) => b.archive(model),
      (b) => b.note(model, 'Compiling'),
    ];
    fc.assert(
      fc.property(fc.array(fc.nat(events.length - 1), { maxLength: 40 }), (order) => {
        let state: ModelStateName = 'pending';
        const book: ModelBook = new ModelBook(new FakeClock(), () => {
          const next = book.view(model)?.status.state ?? 'pending';
          expect(isLegal(state, next), `${state} → ${next}`).to.equal(true);
          state = next;
        });
        for (const n of order) events[n]?.(book);
      }),
    );
  });

  it('takes a name with another digest for another model, and keeps the test with the model', () => {
    const book = new ModelBook(new FakeClock(), () => {});
    const model = { ref: 'm:v1', digest: `sha256:${'a'.repeat(64)}` as Sha256 };
    book.tested(model, { ms: 7, engine: '0.32.0', at: 1 });
    book.pass(model);
    book.rest(model, 'NotAssigned');
    expect(book.view(model)).to.deep.include({ test: { ms: 7, engine: '0.32.0', at: 1 } });
    const other = { ...model, digest: `sha256:${'b'.repeat(64)}` as Sha256 };
    expect(book.view(other)).to.equal(undefined);
    book.begin(other, 'downloading');
    expect(book.all.map((v) => [v.digest, v.status.state, v.test])).to.deep.equal([
      [other.digest, 'pending', undefined],
    ]);
  });
});
