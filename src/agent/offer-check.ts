import { type JobOffer, type Kind, type RejectCode, type Sha256, splitModelRef } from '../protocol/index.ts';

/** The model that the node serves, as offers are judged against it. */
export interface ServedModel {
  /** name:version */
  readonly ref: string;
  readonly digest: Sha256;
  readonly tasks: readonly string[];
  /** Tested, verified and allowed by applied ∩ accepted configuration. */
  readonly active: boolean;
  /** In the engine, which answers. */
  readonly loaded: boolean;
}

/** Everything that decides about an offer but the journal and the load. */
export interface OfferRules {
  /** Server time, ms. */
  readonly now: number;
  readonly draining: boolean;
  readonly paused: boolean;
  /** The applied configuration, and the one before it for 10 minutes. Each with its digest of a model. */
  readonly configs: readonly { readonly digest: Sha256; readonly modelDigest: (ref: string) => Sha256 | undefined }[];
  readonly model: ServedModel | null;
  /** Subclouds that the node is in, and whether it also serves the global pool. */
  readonly subclouds: readonly string[];
  readonly global: boolean;
  readonly maxOutputTokens: number;
}

export interface OfferLoad {
  /** Highest attempt known of the job, ended or not. */
  readonly highestAttempt: number | undefined;
  readonly open: number;
  readonly slots: number;
  readonly queue: number;
}

export type Verdict =
  | { readonly ok: true }
  | { readonly ok: false; readonly code: RejectCode; readonly message: string };

const no = (code: RejectCode, message: string): Verdict => ({ ok: false, code, message });

/** Judges an offer that is not known yet. The order of the checks is the order of the codes in docs/protocol.md §5. */
export const checkOffer = (offer: JobOffer, rules: OfferRules, load: OfferLoad): Verdict => {
  if (offer.deadline <= rules.now) return no('expired', 'the deadline has passed');
  if (rules.draining) return no('draining', 'the node drains');
  if (rules.paused) return no('paused', 'the node is paused');
  const config = rules.configs.find((c) => c.digest === offer.configDigest);
  if (!config) return no('config_mismatch', 'this configuration is not applied here');
  const listed = config.modelDigest(offer.model);
  if (listed !== undefined && (listed !== offer.modelDigest || listed !== rules.configs[0]?.modelDigest(offer.model)))
    return no('config_mismatch', 'the model has another digest here');
  const model = rules.model?.ref === offer.model ? rules.model : null;
  if (listed === undefined || !model?.active)
    return no('model_not_active', `${splitModelRef(offer.model).name} is not active here`);
  if (!model.tasks.includes(offer.kind)) return no('model_not_active', `the model does not do ${offer.kind}`);
  if (offer.subcloud === undefined ? !rules.global : !rules.subclouds.includes(offer.subcloud))
    return no('wrong_subcloud', 'the node does not serve this subcloud');
  if (load.highestAttempt !== undefined && offer.attempt <= load.highestAttempt)
    return no('stale_attempt', `attempt ${load.highestAttempt} is known`);
  const wrong = requestProblem(offer.kind, offer, rules.maxOutputTokens);
  if (wrong) return no('invalid_request', wrong);
  if (load.open >= load.slots + load.queue) return no('at_capacity', 'slots and queue are full');
  if (!model.loaded) return no('not_ready', 'the engine is not ready');
  return { ok: true };
};

const plain = (value: unknown): unknown => (value instanceof Number ? value.valueOf() : value);

/** What is wrong with the request itself; never a word of the prompt. */
const requestProblem = (kind: Kind, offer: JobOffer, maxOutputTokens: number): string | undefined => {
  const r = offer.request;
  if (r.model !== undefined && r.model !== offer.model) return 'request.model is another model';
  if (r.stream !== undefined && r.stream !== offer.stream) return 'request.stream differs from the offer';
  if (kind === 'embeddings') {
    if (offer.stream) return 'embeddings are not streamed';
    return r.input === undefined ? 'request.input is missing' : undefined;
  }
  if (kind === 'chat.completions' && !Array.isArray(r.messages)) return 'request.messages is missing';
  if (kind === 'completions' && r.prompt === undefined) return 'request.prompt is missing';
  for (const field of ['max_tokens', 'max_completion_tokens']) {
    const asked = plain(r[field]);
    if (asked === undefined || asked === null) continue;
    if (!Number.isSafeInteger(asked) || (asked as number) < 1) return `request.${field} is no positive integer`;
    if ((asked as number) > maxOutputTokens) return `request.${field} is above ${maxOutputTokens}`;
  }
  return undefined;
};

/** What goes to the engine: the offer's request, with the offer's stream value and the configuration's output cap as default. */
export const engineRequest = (offer: JobOffer, maxOutputTokens: number): Record<string, unknown> => {
  const r = offer.request;
  const capped = r.max_tokens ?? r.max_completion_tokens;
  return {
    ...r,
    model: offer.model,
    ...(offer.kind === 'embeddings' ? {} : { stream: offer.stream }),
    ...(offer.kind === 'embeddings' || (capped !== undefined && capped !== null)
      ? {}
      : { max_tokens: maxOutputTokens }),
  };
};
