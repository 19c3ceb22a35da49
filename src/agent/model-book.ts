import type { ModelEntry } from '../config/index.ts';
import type { Clock } from '../lib/clock.ts';
import {
  begin,
  type ModelStatus,
  move,
  newModel,
  type PendingReason,
  type Progress,
  type QuarantineRule,
} from '../models/index.ts';
import type { Sha256 } from '../protocol/index.ts';

/** The test that a model passed last, and the engine that gave the answer. */
export interface PassedTest {
  readonly ms: number;
  readonly engine: string;
  /** Wall clock, ms. */
  readonly at: number;
}

/** One model as status and heartbeats show it. */
export interface ModelView {
  readonly ref: string;
  readonly digest: Sha256;
  readonly status: ModelStatus;
  /** Of the step that runs. */
  readonly percent: number;
  readonly note: string | undefined;
  /** Of a download. */
  readonly progress?: Progress | undefined;
  readonly test?: PassedTest | undefined;
}

type Named = Pick<ModelEntry, 'ref' | 'digest'>;
type Failed = Extract<ModelStatus, { state: 'failed' }>;

/**
 * The states of this node's models. Every change is a legal move of src/models/states.ts: what cannot be reached in one move
 * goes through pending. A name whose digest changed is another model.
 */
export class ModelBook {
  readonly #clock: Clock;
  readonly #onChange: () => void;
  readonly #views = new Map<string, ModelView>();

  constructor(clock: Clock, onChange: () => void) {
    this.#clock = clock;
    this.#onChange = onChange;
  }

  get all(): readonly ModelView[] {
    return [...this.#views.values()];
  }
  view({ ref, digest }: Named): ModelView | undefined {
    const known = this.#views.get(ref);
    return known?.digest === digest ? known : undefined;
  }
  #status(model: Named): ModelStatus {
    return this.view(model)?.status ?? newModel;
  }
  #put(model: Named, status: ModelStatus, more: Partial<Omit<ModelView, 'status'>> = {}): void {
    const { test } = this.view(model) ?? {};
    const { ref, digest } = model;
    this.#views.set(ref, { ref, digest, percent: 100, note: undefined, ...(test ? { test } : {}), ...more, status });
    this.#onChange();
  }

  /** Work on it begins, or is at another step. */
  begin(
    model: Named,
    reason: PendingReason,
    more: Partial<Pick<ModelView, 'percent' | 'note' | 'progress'>> = {},
  ): void {
    this.#put(model, begin(this.#status(model), reason), more);
  }
  /** Its test passed; the state stays. */
  tested(model: Named, test: PassedTest): void {
    this.#put(model, this.#status(model), { test });
  }
  /** Installed, proved and tested. */
  pass(model: Named): void {
    const before = this.#status(model);
    if (before.state === 'active') return;
    const from = begin(before, 'testing');
    if (from !== before) this.#put(model, from);
    this.#put(model, move.pass(from, this.#clock.now()));
  }
  /** A check failed: quarantined until the rule lets it be tried again. */
  fail(model: Named, reason: string, rule: QuarantineRule): Failed {
    const before = this.#status(model);
    const from = before.state === 'failed' || before.state === 'archived' ? begin(before, 'queued') : before;
    if (from !== before) this.#put(model, from);
    const failed = move.fail(from, reason, this.#clock.now(), rule);
    this.#put(model, failed);
    return failed;
  }
  /** Installed and whole, and not served. */
  rest(model: Named, reason: string): void {
    const before = this.#status(model);
    if (before.state === 'inactive') {
      if (before.reason !== reason) this.#put(model, { ...before, reason });
      return;
    }
    const from = before.state === 'archived' ? begin(before, 'queued') : before;
    if (from !== before) this.#put(model, from);
    this.#put(model, move.disable(from, reason));
  }
  /** Its files are gone, or go. */
  archive(model: Named): void {
    const before = this.#status(model);
    if (before.state !== 'archived') this.#put(model, move.archive(before));
  }
  note(model: Named, note: string): void {
    const known = this.view(model);
    if (known && known.note !== note) this.#views.set(model.ref, { ...known, note });
  }
  forget(ref: string): void {
    if (this.#views.delete(ref)) this.#onChange();
  }
}
