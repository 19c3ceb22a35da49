import * as common from '@grafana/grafana-foundation-sdk/common';
import * as dashboard from '@grafana/grafana-foundation-sdk/dashboard';
import * as prometheus from '@grafana/grafana-foundation-sdk/prometheus';
import * as stat from '@grafana/grafana-foundation-sdk/stat';
import * as table from '@grafana/grafana-foundation-sdk/table';
import * as timeseries from '@grafana/grafana-foundation-sdk/timeseries';
import { metricsOf } from './catalog.ts';

/** A panel as we write it. */
export interface PanelSpec {
  readonly title: string;
  /** What a person learns from it, and what is wrong when it looks wrong. */
  readonly description: string;
  readonly kind?: 'timeseries' | 'stat' | 'table';
  /** Grafana's name of the unit. */
  readonly unit: string;
  readonly queries: readonly { readonly expr: string; readonly legend: string }[];
  /** From which value on it is a warning, and from which it is bad. Left out where no value is bad by itself. */
  readonly warnAt?: number;
  readonly badAt?: number;
  /** Its values change while jobs run; the end-to-end test insists on it. */
  readonly moves?: true;
}

export interface DashboardSpec {
  readonly uid: string;
  readonly title: string;
  readonly description: string;
  readonly variables: readonly ('namespace' | 'fleet' | 'node' | 'model')[];
  readonly rows: readonly { readonly title: string; readonly panels: readonly PanelSpec[] }[];
}

const DATASOURCE = { type: 'prometheus', uid: '$' + '{datasource}' };
const HEIGHT = 7;

const query = (expr: string, legend: string, kind: PanelSpec['kind']): prometheus.DataqueryBuilder => {
  const target = new prometheus.DataqueryBuilder().datasource(DATASOURCE).expr(expr).legendFormat(legend);
  return kind === 'table' ? target.instant().format(prometheus.PromQueryFormat.Table) : target.range();
};

const thresholdsOf = ({ warnAt, badAt }: PanelSpec): dashboard.ThresholdsConfigBuilder =>
  new dashboard.ThresholdsConfigBuilder()
    .mode(dashboard.ThresholdsMode.Absolute)
    .steps([
      { value: null, color: 'green' },
      ...(warnAt === undefined ? [] : [{ value: warnAt, color: 'orange' }]),
      ...(badAt === undefined ? [] : [{ value: badAt, color: 'red' }]),
    ]);

type AnyPanel = timeseries.PanelBuilder | stat.PanelBuilder | table.PanelBuilder;

const panelOf = (spec: PanelSpec): AnyPanel => {
  const common_ = <P extends AnyPanel>(panel: P, span: number): P => {
    panel.title(spec.title).description(spec.description).unit(spec.unit).datasource(DATASOURCE);
    panel.thresholds(thresholdsOf(spec)).height(HEIGHT).span(span);
    for (const { expr, legend } of spec.queries) {
      metricsOf(expr);
      panel.withTarget(query(expr, legend, spec.kind));
    }
    return panel;
  };
  switch (spec.kind) {
    case 'stat':
      return common_(new stat.PanelBuilder(), 6).colorMode(common.BigValueColorMode.Value);
    case 'table':
      return common_(new table.PanelBuilder(), 24);
    default:
      return common_(new timeseries.PanelBuilder(), 8)
        .fillOpacity(10)
        .showPoints(common.VisibilityMode.Never)
        .legend(
          new common.VizLegendOptionsBuilder()
            .showLegend(true)
            .placement(common.LegendPlacement.Bottom)
            .displayMode(common.LegendDisplayMode.List),
        );
  }
};

/** Where the choices of each variable come from. */
const VARIABLES = {
  namespace: 'label_values(resultity_node_info, namespace)',
  fleet: 'label_values(resultity_node_info{namespace=~"$namespace"}, fleet)',
  node: 'label_values(resultity_node_info{namespace=~"$namespace", fleet=~"$fleet"}, node)',
  model: 'label_values(resultity_node_info{namespace=~"$namespace"}, model)',
} as const;

const variableOf = (name: keyof typeof VARIABLES): dashboard.QueryVariableBuilder =>
  new dashboard.QueryVariableBuilder(name)
    .label(name)
    .datasource(DATASOURCE)
    .query(VARIABLES[name])
    .refresh(dashboard.VariableRefresh.OnTimeRangeChanged)
    .multi(true)
    .includeAll(true)
    .allValue('.*');

/** The dashboard as Grafana reads it. @throws Error when a query names a metric that no program registers */
export const dashboardOf = (spec: DashboardSpec): dashboard.Dashboard => {
  const board = new dashboard.DashboardBuilder(spec.title)
    .uid(spec.uid)
    .description(spec.description)
    .tags(['resultity'])
    .time({ from: 'now-1h', to: 'now' })
    .refresh('30s')
    .tooltip(dashboard.DashboardCursorSync.Crosshair)
    .withVariable(new dashboard.DatasourceVariableBuilder('datasource').label('datasource').type('prometheus'));
  for (const name of spec.variables) board.withVariable(variableOf(name));
  for (const row of spec.rows) {
    board.withRow(new dashboard.RowBuilder(row.title));
    for (const panel of row.panels) board.withPanel(panelOf(panel));
  }
  return board.build();
};
