import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { stringify } from 'yaml';
import { terminalProgress } from '../../hack/lib/index.ts';
import { DASHBOARDS } from '../../hack/observe/dashboards/index.ts';
import type { PanelSpec } from '../../hack/observe/panels.ts';
import { legendOf, svgOf } from '../../hack/observe/picture.ts';
import { PICTURES } from '../../hack/observe/pictures.ts';
import { prometheusProgram } from '../../hack/observe/prometheus.ts';
import { Load } from './load.ts';
import { e2e, eventually } from './setup.ts';

const PORT = 9099;
const LOAD_MS = 40_000;

interface ScrapedPod {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly annotations?: Record<string, string>;
  };
  readonly status: { readonly podIP?: string };
}

/** Every pod that asks for it by its annotations: what Prometheus' own discovery would find, which Debian builds without. */
const config = (pods: readonly ScrapedPod[]): string =>
  stringify({
    global: { scrape_interval: '2s', scrape_timeout: '2s' },
    scrape_configs: [
      {
        job_name: 'kubernetes-pods',
        honor_labels: true,
        static_configs: pods
          .filter((pod) => pod.metadata.annotations?.['prometheus.io/scrape'] === 'true')
          .map(({ metadata: { name, namespace, annotations }, status }) => ({
            targets: [`${status.podIP}:${annotations?.['prometheus.io/port']}`],
            labels: { namespace, pod: name },
          })),
      },
    ],
  });

interface Series {
  readonly metric: Readonly<Record<string, string>>;
  readonly values: readonly (readonly [number, string])[];
}

describe('Prometheus and the dashboards', () => {
  let prometheus: ChildProcess | undefined;
  let base = '';
  let from = 0;

  before(async function () {
    this.timeout(300_000);
    const { target } = e2e();
    const { cluster } = target;
    if (!cluster) return this.skip();
    const program = await prometheusProgram('prometheus', terminalProgress());
    const dir = join(target.dir, 'prometheus');
    mkdirSync(dir, { recursive: true });
    const { items } = JSON.parse(await target.kubectl(['get', 'pods', '-A', '-o', 'json'])) as { items: ScrapedPod[] };
    writeFileSync(join(dir, 'prometheus.yml'), config(items));
    // It ends with the standard input of the shell, so with this process, however that ends.
    const [file = '', ...args] = cluster.wrap([
      ...['sh', '-c', '"$@" >"$0" 2>&1 & p=$!; cat; kill $p', join(dir, 'log')],
      ...[
        program,
        `--config.file=${dir}/prometheus.yml`,
        `--storage.tsdb.path=${dir}/data`,
        `--web.listen-address=:${PORT}`,
      ],
    ]);
    prometheus = spawn(file, args, { stdio: ['pipe', 'ignore', 'ignore'] });
    base = `http://${cluster.nodeAddress}:${PORT}/api/v1`;
    const programs = [
      'leader_election_master_status',
      'resultity_network_queue_depth',
      'resultity_agent_jobs_inflight',
    ];
    await eventually('all three programs are scraped', async () => {
      for (const metric of programs) if ((await query(metric)).length === 0) return false;
      return true;
    });
    from = Date.now() / 1000;
    await e2e().installed.withApi(async (api) => {
      const load = new Load(api, [e2e().installed.model], 4);
      await new Promise((resolve) => setTimeout(resolve, LOAD_MS));
      await load.settle('load for the dashboards');
    });
  });
  after(async () => {
    try {
      if (prometheus && process.env.RESULTITY_PICTURES) await draw(process.env.RESULTITY_PICTURES);
    } finally {
      prometheus?.stdin?.end();
    }
  });

  const get = async (path: string, params: Record<string, string>): Promise<Series[]> => {
    const answer = await fetch(`${base}/${path}?${new URLSearchParams(params)}`);
    const body = (await answer.json()) as { status: string; error?: string; data: { result: Series[] } };
    if (body.status !== 'success') throw new Error(`${params.query}: ${body.error}`);
    return body.data.result;
  };
  const query = (expr: string): Promise<Series[]> => get('query', { query: expr });

  /** What Grafana would ask for: everything chosen in the variables. */
  const filled = (expr: string): string =>
    expr
      .replaceAll('$__rate_interval', '20s')
      .replaceAll('$__range', '5m')
      .replace(/\$(namespace|fleet|node|model)\b/g, '.*');

  const over = (expr: string, step: string): Promise<Series[]> =>
    get('query_range', { query: filled(expr), start: String(from), end: String(Date.now() / 1000), step });
  const seriesOf = async (panel: PanelSpec): Promise<Series[]> =>
    (await Promise.all(panel.queries.map(({ expr }) => over(expr, '5')))).flat();

  /** The pictures of docs/pictures, and the numbers that they are drawn from. */
  const draw = async (folder: string): Promise<void> => {
    mkdirSync(folder, { recursive: true });
    for (const { board, panel, file } of PICTURES) {
      const spec = DASHBOARDS.find((d) => d.uid === board)
        ?.rows.flatMap((row) => row.panels)
        .find(({ title }) => title === panel);
      if (!spec) throw new Error(`no panel “${panel}” on ${board}`);
      const found = await Promise.all(
        spec.queries.map(async ({ expr, legend }) => {
          const series = await over(expr, '2');
          const lines = series.map(({ metric, values }) => ({
            legend: legendOf(legend, metric),
            points: values.map(([t, v]): [number, number] => [t, Number(v)]),
          }));
          return { query: filled(expr), series, lines };
        }),
      );
      const lines = found.flatMap((f) => f.lines);
      writeFileSync(join(folder, `${file}.svg`), svgOf({ title: panel, unit: spec.unit, lines }));
      writeFileSync(
        join(folder, `${file}.json`),
        JSON.stringify(found.map(({ query, series }) => ({ query, series }))),
      );
    }
  };
  const moved = ({ values }: Series): boolean => new Set(values.map(([, v]) => v).filter((v) => v !== 'NaN')).size > 1;

  for (const board of DASHBOARDS)
    it(`“${board.title}”: every panel has data, and what should move under load moves`, async () => {
      const empty: string[] = [];
      const still: string[] = [];
      for (const panel of board.rows.flatMap((row) => row.panels)) {
        const series = await seriesOf(panel);
        process.stdout.write(`      ${board.title} / ${panel.title}: ${series.length} series\n`);
        if (series.length === 0) empty.push(panel.title);
        if (panel.moves && !series.some(moved)) still.push(panel.title);
      }
      expect(empty, 'panels without data').to.deep.equal([]);
      expect(still, 'panels that should have moved').to.deep.equal([]);
    });
});
