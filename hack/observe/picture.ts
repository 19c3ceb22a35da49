/** A line of a chart: its name, and values (x in seconds since the epoch) in the order of time. */
export interface Line {
  readonly legend: string;
  readonly points: readonly (readonly [number, number])[];
}

export interface Picture {
  readonly title: string;
  /** Grafana's name of the unit. */
  readonly unit: string;
  readonly lines: readonly Line[];
}

const SIZE = { width: 640, height: 260, left: 64, right: 16, top: 34, bottom: 58 };
const COLOURS = ['#3274d9', '#e0752d', '#299c46', '#a352cc', '#c4162a', '#8f8f8f'];
const MAX_LINES = COLOURS.length;

const round = (n: number): string => String(Math.round(n * 10) / 10);
const escaped = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

/** A value as a person reads it. */
export const valueText = (value: number, unit: string): string => {
  const plain = (n: number): string => String(Number(n.toPrecision(3)));
  switch (unit) {
    case 's':
      return Math.abs(value) < 1 && value !== 0 ? `${plain(value * 1000)} ms` : `${plain(value)} s`;
    case 'percentunit':
      return `${plain(value * 100)} %`;
    case 'bytes':
      return `${plain(value / 2 ** 20)} MiB`;
    case 'ops':
    case 'reqps':
      return `${plain(value)}/s`;
    default:
      return plain(value);
  }
};

/** The smallest of 1, 2, 5 × 10ⁿ of which four reach `max`. */
const stepFor = (max: number): number => {
  const rough = (max || 1) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * ([1, 2, 5, 10].find((f) => f * power >= rough * 0.999) ?? 10);
};

/** Legend of a series: `{{label}}` filled in, as Grafana does it. */
export const legendOf = (template: string, labels: Readonly<Record<string, string>>): string =>
  template.replace(/\{\{(\w+)\}\}/g, (_, label: string) => labels[label] ?? '');

const top = ({ points }: Line): number => Math.max(...points.map(([, value]) => value));

/** A line chart as SVG: from zero (or below) up, time in seconds since its start. Of more than six lines the highest. Pure. */
export const svgOf = ({ title, unit, lines }: Picture): string => {
  const shown = lines
    .map((line) => ({ ...line, points: line.points.filter(([, value]) => Number.isFinite(value)) }))
    .filter(({ points }) => points.length > 0)
    .sort((a, b) => top(b) - top(a))
    .slice(0, MAX_LINES);
  const all = shown.flatMap(({ points }) => points);
  const [from, to] = [Math.min(...all.map(([t]) => t)), Math.max(...all.map(([t]) => t))];
  const low = Math.min(0, ...all.map(([, v]) => v));
  const step = stepFor(Math.max(0, ...all.map(([, v]) => v)) - low);
  const bottom = Math.floor(low / step) * step;
  const steps = Math.max(1, Math.ceil((Math.max(0, ...all.map(([, v]) => v)) - bottom) / step - 1e-9));
  const { width, height, left } = SIZE;
  const [right, base] = [width - SIZE.right, height - SIZE.bottom];
  const x = (t: number): number => left + ((t - from) / Math.max(1, to - from)) * (right - left);
  const y = (v: number): number => base - ((v - bottom) / (steps * step)) * (base - SIZE.top);
  const text = (at: string, content: string): string => `<text ${at}>${escaped(content)}</text>`;
  const grid = Array.from({ length: steps + 1 }, (_, i) => bottom + i * step).flatMap((v) => [
    `<path d="M${left} ${round(y(v))}H${right}" stroke="#ddd"/>`,
    text(`x="${left - 8}" y="${round(y(v) + 4)}" text-anchor="end"`, valueText(v, unit)),
  ]);
  const seconds = stepFor(to - from);
  const ticks = Array.from({ length: Math.floor((to - from) / seconds) + 1 }, (_, i) => i * seconds).map((s) =>
    text(`x="${round(x(from + s))}" y="${base + 16}" text-anchor="middle"`, `${s} s`),
  );
  const paths = shown.map(
    ({ points }, i) =>
      `<path d="M${points.map(([t, v]) => `${round(x(t))} ${round(y(v))}`).join('L')}" fill="none" stroke="${COLOURS[i]}" stroke-width="2"/>`,
  );
  const column = (right - left) / 3;
  const legend = shown.flatMap(({ legend: name }, i) => {
    const [lx, ly] = [left + (i % 3) * column, base + 34 + Math.floor(i / 3) * 16];
    return [
      `<path d="M${round(lx)} ${ly - 4}h14" stroke="${COLOURS[i]}" stroke-width="3"/>`,
      text(`x="${round(lx + 20)}" y="${ly}"`, name.length > 26 ? `${name.slice(0, 25)}…` : name),
    ];
  });
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11" fill="#333">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    text(`x="${left}" y="20" font-size="14" font-weight="bold"`, title),
    ...grid,
    ...ticks,
    ...paths,
    ...legend,
    '</svg>',
  ].join('\n')}\n`;
};
