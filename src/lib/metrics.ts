import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

export type { Counter, Gauge, Histogram } from 'prom-client';

/** What a metric is, said once: dashboards, alerts and the reference in docs/ are built from these. */
export interface MetricSpec<L extends string = string> {
  readonly type: 'counter' | 'gauge' | 'histogram';
  /** Prometheus naming: base unit as suffix, counters end in _total. */
  readonly name: string;
  readonly help: string;
  readonly labels: readonly L[];
  /** Bucket bounds of a histogram, in the metric's unit. */
  readonly buckets?: readonly number[];
}

/** Latency buckets from 1 ms to 2 min, for anything that waits on a network or an engine. */
export const LATENCY_BUCKETS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120,
] as const;

/**
 * One program's metrics: a typed layer over a prom-client registry. Asking twice for the same name gives the same metric,
 * so that tests may build many components on one registry.
 */
export class Metrics {
  readonly registry = new Registry();
  readonly #updates: (() => unknown)[] = [];

  counter<L extends string>(name: string, help: string, labels: readonly L[] = []): Counter<L> {
    return this.#once(name, () => new Counter({ name, help, labelNames: labels, registers: [this.registry] }));
  }
  gauge<L extends string>(name: string, help: string, labels: readonly L[] = []): Gauge<L> {
    return this.#once(name, () => new Gauge({ name, help, labelNames: labels, registers: [this.registry] }));
  }
  histogram<L extends string>(
    name: string,
    help: string,
    labels: readonly L[] = [],
    buckets: readonly number[] = LATENCY_BUCKETS,
  ): Histogram<L> {
    return this.#once(
      name,
      () => new Histogram({ name, help, labelNames: labels, buckets: [...buckets], registers: [this.registry] }),
    );
  }

  /** Node's process metrics: CPU, memory, event-loop lag, garbage collection. */
  collectProcess(): this {
    collectDefaultMetrics({ register: this.registry });
    return this;
  }

  /** Before each exposition: for values that change while nothing happens, such as ages. */
  beforeScrape(update: () => unknown): void {
    this.#updates.push(update);
  }

  /** The text exposition format for GET /metrics. */
  text(): Promise<string> {
    for (const update of this.#updates) update();
    return this.registry.metrics();
  }

  #once<M>(name: string, make: () => M): M {
    return (this.registry.getSingleMetric(name) as M | undefined) ?? make();
  }
}
