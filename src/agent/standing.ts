import { participates, type SnapshotDocument, type SubcloudMember, servedIn, subcloudsOf } from '../config/index.ts';
import type { ConfigSync } from './config-sync.ts';
import type { Drain } from './drain.ts';
import type { Hardware } from './hardware.ts';
import type { ModelManager } from './model-manager.ts';
import type { OfferRules } from './offer-check.ts';
import { imageDigest } from './plan.ts';
import type { Settings } from './settings.ts';

/** Who the node is when subclouds are judged. */
export const memberOf = (settings: Settings, node: string, hardware: Hardware): SubcloudMember => ({
  node,
  owner: 'wallet' in settings.owner ? settings.owner.wallet.toLowerCase() : settings.owner.email,
  labels: settings.labels,
  gpuMemoryMiB: Math.max(0, ...hardware.gpus.map((g) => g.memoryMiB)),
  join: settings.subclouds.join,
  leave: settings.subclouds.leave,
});

/** The version that the configuration gives the pod's runtime image. */
export const runtimeVersionOf = (
  configs: readonly ({ readonly document: SnapshotDocument } | null)[],
  image: string,
): string => {
  const digest = imageDigest(image);
  const ours = configs
    .flatMap((c) => c?.document.runtimes ?? [])
    .find((r) => digest !== undefined && imageDigest(r.image) === digest);
  return ours?.version ?? 'unknown';
};

/** What offers are judged by at this moment: what is in effect, what is tested, what was ordered. */
export const offerRules = (at: {
  readonly now: number;
  readonly config: Pick<ConfigSync, 'effective' | 'servable'>;
  readonly manager: Pick<ModelManager, 'tested' | 'serving'>;
  readonly drain: Pick<Drain, 'draining' | 'paused'>;
  readonly environment: Settings['network']['environment'];
  readonly member: SubcloudMember;
}): OfferRules => {
  const document = at.config.effective;
  const { tested } = at.manager;
  const entry = document?.models.find((m) => m.ref === tested?.ref && m.digest === tested.digest);
  const places = document ? subcloudsOf(document, at.member) : { ids: [], global: true };
  return {
    now: at.now,
    draining: at.drain.draining,
    paused: at.drain.paused || (document !== null && !participates(document, at.environment)),
    configs: at.config.servable.map((c) => ({
      digest: c.ref.digest,
      modelDigest: (ref: string) => c.document.models.find((m) => m.ref === ref)?.digest,
    })),
    model:
      tested && entry
        ? {
            ref: tested.ref,
            digest: tested.digest,
            tasks: entry.tasks,
            active: entry.state === 'active',
            loaded: at.manager.serving !== null,
          }
        : null,
    subclouds: places.ids.filter((id) => entry === undefined || servedIn(entry, [id])),
    global: places.global && (entry === undefined || servedIn(entry, places.ids)),
    maxOutputTokens: document?.jobs.maxOutputTokens ?? 0,
  };
};
