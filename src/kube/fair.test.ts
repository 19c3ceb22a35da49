import { expect } from 'chai';
import fc from 'fast-check';
import { FairMap } from './fair.ts';

describe('FairMap', () => {
  const key = fc.record({ flow: fc.constantFrom('a', 'b', 'c'), n: fc.nat(5) });
  const moves = fc.array(
    fc.oneof(
      { weight: 3, arbitrary: fc.record({ set: key }) },
      { weight: 2, arbitrary: fc.constant({ shift: true }) },
      { weight: 1, arbitrary: fc.record({ delete: key }) },
    ),
    { maxLength: 80 },
  );

  it('property: gives each key once, in its flow’s order, and lets no flow wait for two of another', () => {
    fc.assert(
      fc.property(moves, (all) => {
        const map = new FairMap<number>();
        const model = new Map<string, string[]>(['a', 'b', 'c'].map((flow) => [flow, []]));
        /** Served since a flow has something and was not served itself, by flow. */
        const passed = new Map<string, Map<string, number>>();
        for (const move of all) {
          if ('set' in move) {
            const { flow, n } = move.set;
            const keys = model.get(flow) ?? [];
            if (!keys.includes(`${flow}${n}`)) keys.push(`${flow}${n}`);
            map.set(`${flow}${n}`, n, flow);
          } else if ('delete' in move) {
            const { flow, n } = move.delete;
            const keys = (model.get(flow) ?? []).filter((k) => k !== `${flow}${n}`);
            model.set(flow, keys);
            if (keys.length === 0) passed.delete(flow);
            map.delete(`${flow}${n}`);
          } else {
            const got = map.shift();
            const waiting = [...model].filter(([, keys]) => keys.length > 0);
            if (waiting.length === 0) expect(got).to.equal(undefined);
            else {
              const flow = got?.[0].slice(0, 1) ?? '';
              expect(got?.[0]).to.equal(model.get(flow)?.shift());
              passed.delete(flow);
              for (const [other] of waiting.filter(([name]) => name !== flow)) {
                const by = passed.get(other) ?? new Map<string, number>();
                by.set(flow, (by.get(flow) ?? 0) + 1);
                passed.set(other, by);
                expect(by.get(flow), `${other} waits for ${flow}`).to.be.at.most(1);
              }
            }
          }
          const left = [...model.values()].flat();
          expect(map.size).to.equal(left.length);
          for (const k of left) expect([map.has(k), map.get(k)]).to.deep.equal([true, Number(k.slice(1))]);
        }
      }),
    );
  });
});
