import type { ModelEntry } from '../config/index.ts';
import { type ModelStatus, newModel, type PendingReason } from '../models/index.ts';
import type { Sha256 } from '../protocol/index.ts';

/** One model as status and heartbeats show it. */
export interface ModelView {
  readonly ref: string;
  readonly digest: Sha256;
  readonly status: ModelStatus;
  readonly percent: number;
  readonly note: string | undefined;
}

/** What is shown of each model that the node has to do with. */
export class ModelViews {
  readonly #views = new Map<string, ModelView>();
  readonly #onChange: () => void;

  constructor(onChange: () => void) {
    this.#onChange = onChange;
  }

  get all(): readonly ModelView[] {
    return [...this.#views.values()];
  }
  /** Of these very bytes: another digest under the same name begins anew. */
  statusOf(model: ModelEntry): ModelStatus {
    const known = this.#views.get(model.ref);
    return known?.digest === model.digest ? known.status : newModel;
  }
  set(model: ModelEntry, status: ModelStatus, percent = 100, note?: string): void {
    this.#views.set(model.ref, { ref: model.ref, digest: model.digest, status, percent, note });
    this.#onChange();
  }
  /** On its way; failures are not forgotten. */
  pending(model: ModelEntry, reason: PendingReason, percent = 100): void {
    const before = this.statusOf(model);
    this.set(model, { state: 'pending', reason, failures: 'failures' in before ? before.failures : 0 }, percent);
  }
  /** Why it is still pending, in the engine's words. */
  note(model: ModelEntry, note: string): void {
    const known = this.#views.get(model.ref);
    if (known && known.note !== note) this.#views.set(model.ref, { ...known, note });
  }
  /** It must not start, for this reason. */
  waiting(model: ModelEntry, reason: string): void {
    if (this.#views.get(model.ref)?.note !== reason) this.set(model, newModel, 0, reason);
  }
  /** Tested and in the engine. Others that were on their way, or failed, are forgotten, but for `keep`. */
  activate(model: ModelEntry, nowMs: number, keep: string | undefined): void {
    for (const [ref, { status }] of this.#views)
      if (ref !== model.ref && ref !== keep && (status.state === 'failed' || status.state === 'pending'))
        this.#views.delete(ref);
    this.set(model, { state: 'active', since: nowMs });
  }
}
