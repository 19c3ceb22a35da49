import { expect } from 'chai';
import { legendOf, svgOf, valueText } from './picture.ts';

describe('a picture of a panel', () => {
  it('spans its values and its time: the first point stands at the axis, the largest at the top line', () => {
    const svg = svgOf({
      title: 'Jobs < 10',
      unit: 'ops',
      lines: [
        {
          legend: 'accepted',
          points: [
            [100, 0],
            [110, 4],
            [120, 2],
          ],
        },
      ],
    });
    expect(svg).to.contain('Jobs &lt; 10').and.contain('>4/s<').and.contain('>20 s<').and.contain('>accepted<');
    expect(/d="M64 (\S+)L344 (\S+)L624 (\S+)"/.exec(svg)?.slice(1)).to.deep.equal(['202', '34', '118']);
  });

  it('leaves out what is no number, and lines without any', () => {
    const nothing = svgOf({
      title: 'x',
      unit: 'none',
      lines: [
        { legend: 'gone', points: [[1, Number.NaN]] },
        { legend: 'there', points: [[1, 1]] },
      ],
    });
    expect(nothing).to.contain('there').and.not.contain('gone').and.not.contain('NaN');
  });

  it('shows the six highest of more lines', () => {
    const lines = Array.from({ length: 8 }, (_, i) => ({ legend: `line ${i}`, points: [[1, i] as [number, number]] }));
    const shown = [...svgOf({ title: 'x', unit: 'none', lines }).matchAll(/>line (\d)</g)].map(([, n]) => n);
    expect(shown).to.deep.equal(['7', '6', '5', '4', '3', '2']);
  });

  it('writes values and legends as Grafana would', () => {
    expect(valueText(0.0123, 's')).to.equal('12.3 ms');
    expect(valueText(0.5, 'percentunit')).to.equal('50 %');
    expect(legendOf('{{node}} {{outcome}}', { node: 'a', outcome: 'ok' })).to.equal('a ok');
  });
});
