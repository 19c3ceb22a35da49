/**
 * The four dashboards that the chart ships, one a file: what each panel asks and what a person learns from it.
 * `queries` has what they share. test/e2e/observe.test.ts tries every query against a real Prometheus.
 */
import type { DashboardSpec } from '../panels.ts';
import { FLEET } from './fleet.ts';
import { NETWORK } from './network.ts';
import { NODE } from './node.ts';
import { OPERATOR } from './operator.ts';

export const DASHBOARDS: readonly DashboardSpec[] = [FLEET, NODE, NETWORK, OPERATOR];
