/**
 * What the world sees of a running system: the metrics' reference, the Grafana dashboards, and a check that both name
 * only metrics that a program registers.
 *
 * Reading order: `catalog` (all metrics, from the code that registers them), `panels` (a panel as we write it, and as
 * Grafana reads it), `dashboards` (the four of them), `reference` (docs/metrics.md), `picture` and `pictures` (docs/pictures:
 * key panels as SVG, drawn by test/e2e/observe.test.ts out of what Prometheus answered). The alerts are plain rules:
 * charts/resultity-operator/files/alerts.yaml, tested by test/alerts.
 *
 * Invariant: an expression with a metric that nobody registers makes the generator throw.
 */
import { CATALOG } from './catalog.ts';
import { DASHBOARDS } from './dashboards/index.ts';
import { dashboardOf } from './panels.ts';
import { referenceOf } from './reference.ts';

const FOLDER = 'charts/resultity-operator/files/dashboards';

/** Path (from the root) → content: a JSON file for each dashboard, and the metrics' reference. */
export const generateObserved = (): ReadonlyMap<string, string> =>
  new Map([
    ...DASHBOARDS.map((spec): [string, string] => [
      `${FOLDER}/${spec.uid}.json`,
      `${JSON.stringify(dashboardOf(spec), null, 2)}\n`,
    ]),
    ['docs/metrics.md', referenceOf(CATALOG)],
  ]);
