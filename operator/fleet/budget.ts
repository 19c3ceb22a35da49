import { FIELD_MANAGER, LABEL } from '../../src/api/contract.ts';
import type { ResultityFleet } from '../../src/api/index.ts';
import { isNotFound, joinKey, type Key, type KubeClient, ownerReference } from '../../src/kube/index.ts';
import type { Clock } from '../../src/lib/index.ts';
import { KIND } from '../kinds.ts';
import { bounded, childLabels } from '../names.ts';
import type { DisruptionBudget } from '../pod-types.ts';

/** How long a budget is taken to be as it was written: nobody watches it, and somebody may change or delete it. */
const TRUST_MS = 300_000;

/** The PodDisruptionBudget that a fleet's pods stand under. Pure. */
export const budgetOf = (fleet: ResultityFleet, minAvailable: number): DisruptionBudget => {
  const { name = '', namespace } = fleet.metadata;
  return {
    metadata: {
      name: bounded(name),
      ...(namespace === undefined ? {} : { namespace }),
      labels: childLabels('budget', { fleet: name, network: fleet.spec.template.networkRef.name }),
      ownerReferences: [ownerReference(KIND.fleet, fleet)],
    },
    spec: { minAvailable, selector: { matchLabels: { [LABEL.fleet]: bounded(name), [LABEL.role]: 'node' } } },
  };
};

/** Keeps each fleet's budget, without a write when it stands. */
export class Budgets {
  readonly #client: KubeClient;
  readonly #clock: Clock;
  readonly #known = new Map<Key, { minAvailable: number; until: number }>();

  constructor(client: KubeClient, clock: Clock) {
    this.#client = client;
    this.#clock = clock;
  }

  async keep(fleet: ResultityFleet, minAvailable: number, signal: AbortSignal): Promise<void> {
    const { name = '', namespace = '' } = fleet.metadata;
    const key = joinKey(namespace, name);
    const known = this.#known.get(key);
    if (known?.minAvailable === minAvailable && known.until > this.#clock.monotonic()) return;
    const there = await this.#client
      .get(KIND.budget, { name: bounded(name), namespace }, { signal })
      .catch((error: unknown) => {
        if (isNotFound(error)) return undefined;
        throw error;
      });
    if (there?.spec.minAvailable !== minAvailable)
      await this.#client.apply(KIND.budget, budgetOf(fleet, minAvailable), {
        fieldManager: FIELD_MANAGER.operator,
        signal,
      });
    this.#known.set(key, { minAvailable, until: this.#clock.monotonic() + TRUST_MS });
  }

  forget(key: Key): void {
    this.#known.delete(key);
  }
}
