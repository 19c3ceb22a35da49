import type { FitVerdict } from './fit.ts';

/** An approved model as assignment sees it. */
export interface Candidate {
  /** `name:version`. */
  readonly model: string;
  readonly state: 'active' | 'inactive' | 'archived';
  /** Share of the servers that the snapshot wants for it; default 1. */
  readonly weight: number;
  readonly fit: FitVerdict;
  /** Other nodes of this network to which it is assigned. */
  readonly servers: number;
}

/** What the node's owner said of models. */
export interface ModelWishes {
  readonly assigned?: string;
  readonly include?: readonly string[];
  readonly exclude?: readonly string[];
}

export type Assignment =
  | { readonly kind: 'assigned'; readonly model: string; readonly fit: FitVerdict }
  | {
      readonly kind: 'none';
      readonly reason: 'ModelNotApproved' | 'ModelInactive' | 'ModelArchived' | 'NoModelFits';
      readonly message: string;
      /** The verdict of the model that comes nearest. */
      readonly fit?: FitVerdict;
    };

/** `name` means all versions of it, `name:version` that one. */
const matches = (pattern: string, model: string): boolean =>
  pattern === model || (!pattern.includes(':') && model.startsWith(`${pattern}:`));

/**
 * One model for one node. A model named by the owner is taken or refused, never replaced. Else, among the active, allowed
 * ones that can fit: the one it has (sticky), then the fewest servers for its weight, then by name. Pure and total.
 */
export const assignModel = (
  candidates: readonly Candidate[],
  wishes: ModelWishes,
  current: string | undefined,
): Assignment => {
  const { assigned } = wishes;
  if (assigned !== undefined) {
    const wanted = candidates.find((c) => c.model === assigned);
    if (!wanted)
      return none('ModelNotApproved', `the network's snapshot does not list ${assigned}; it lists ${list(candidates)}`);
    if (wanted.state !== 'active')
      return none(
        wanted.state === 'archived' ? 'ModelArchived' : 'ModelInactive',
        `${assigned} is ${wanted.state} in the network's snapshot`,
      );
    return wanted.fit.kind === 'never' ? unfit([wanted]) : { kind: 'assigned', model: assigned, fit: wanted.fit };
  }
  const allowed = candidates.filter(
    (c) =>
      c.state === 'active' &&
      (wishes.include === undefined ||
        wishes.include.length === 0 ||
        wishes.include.some((p) => matches(p, c.model))) &&
      !(wishes.exclude ?? []).some((p) => matches(p, c.model)),
  );
  if (allowed.length === 0)
    return none(
      'ModelNotApproved',
      `no active model of the snapshot is allowed by models.include and exclude; it lists ${list(candidates)}`,
    );
  const possible = allowed.filter((c) => c.fit.kind !== 'never');
  if (possible.length === 0) return unfit(allowed);
  const kept = possible.find((c) => c.model === current);
  if (kept) return { kind: 'assigned', model: kept.model, fit: kept.fit };
  // A free GPU counts more than balance: a node that waits serves nobody.
  const now = possible.filter((c) => c.fit.kind === 'now');
  const [best] = (now.length > 0 ? now : possible).toSorted(
    (a, b) => load(a) - load(b) || (a.model < b.model ? -1 : 1),
  );
  return best === undefined ? unfit(allowed) : { kind: 'assigned', model: best.model, fit: best.fit };
};

const load = (c: Candidate): number => c.servers / (c.weight > 0 ? c.weight : Number.MIN_VALUE);

const none = (reason: 'ModelNotApproved' | 'ModelInactive' | 'ModelArchived', message: string): Assignment => ({
  kind: 'none',
  reason,
  message,
});

/** The model that lacks the least memory explains best. */
const unfit = (models: readonly Candidate[]): Assignment => {
  const missing = (c: Candidate): number =>
    Math.min(...c.fit.pools.map((p) => p.missingMiB ?? 0), Number.MAX_SAFE_INTEGER);
  const [nearest] = models.toSorted((a, b) => missing(a) - missing(b) || (a.model < b.model ? -1 : 1));
  return {
    kind: 'none',
    reason: 'NoModelFits',
    message: nearest?.fit.message ?? 'no model',
    ...(nearest ? { fit: nearest.fit } : {}),
  };
};

const list = (candidates: readonly Candidate[]): string => {
  const names = candidates.map((c) => c.model).sort();
  if (names.length === 0) return 'none';
  return names.length <= 3 ? names.join(', ') : `${names.slice(0, 3).join(', ')} and ${names.length - 3} more`;
};
