import type { Condition } from '../src/api/index.ts';
import type { Gauge } from '../src/lib/index.ts';

type Told = Pick<Condition, 'type' | 'status'>;

/** Keeps a gauge at 1 for the status that each condition of each object has now, where `worth` says so, and nothing else. */
export class ConditionGauges<L extends string> {
  readonly #gauge: Gauge<L | 'type' | 'status'>;
  readonly #shown = new Map<string, readonly Record<L | 'type' | 'status', string>[]>();

  readonly #worth: (condition: Told) => boolean;

  constructor(gauge: Gauge<L | 'type' | 'status'>, worth: (condition: Told) => boolean = () => true) {
    this.#gauge = gauge;
    this.#worth = worth;
  }

  /** `labels` name the object; `key` is what `forget` takes. */
  show(key: string, labels: Record<L, string>, conditions: readonly Told[]): void {
    this.forget(key);
    const series = conditions.filter(this.#worth).map(({ type, status }) => ({ ...labels, type, status }));
    for (const labelsOf of series) this.#gauge.set(labelsOf, 1);
    this.#shown.set(key, series);
  }

  /** The object is gone. */
  forget(key: string): void {
    for (const labels of this.#shown.get(key) ?? []) this.#gauge.remove(labels);
    this.#shown.delete(key);
  }
}
