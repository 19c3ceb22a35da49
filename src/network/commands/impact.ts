import { compareVersions, type ModelEntry, type SnapshotDocument } from '../../config/index.ts';
import { TIERS } from '../../protocol/index.ts';
import { toMib } from './diff.ts';
import type { NodeLine } from './service-view.ts';

/** What nodes will do when a document takes the place of another (docs/protocol.md §7, accepted is not applied). */
export interface Impact {
  /** Forbidden at once, before anything else. */
  readonly atOnce: readonly string[];
  /** In effect when its files and images are there and tested. */
  readonly whenReady: readonly string[];
  /** Images that the operator rolls. */
  readonly images: readonly string[];
}

const isActive = (model: ModelEntry | undefined): boolean => model?.state === 'active';

/** @param before undefined for the first configuration of a network */
export const impactOf = (before: SnapshotDocument | undefined, after: SnapshotDocument): Impact => {
  const atOnce: string[] = [];
  const whenReady: string[] = [];
  const images: string[] = [];
  const old = new Map(before?.models.map((m) => [m.ref, m]));
  const next = new Map(after.models.map((m) => [m.ref, m]));
  for (const [ref, model] of old)
    if (isActive(model) && !isActive(next.get(ref)))
      atOnce.push(`${ref} gets no more jobs (${next.get(ref)?.state ?? 'no longer listed'})`);
  for (const [ref, model] of next) {
    if (!isActive(model)) continue;
    const held = old.get(ref);
    const size = toMib(model.files.reduce((sum, file) => sum + file.size, 0));
    if (held?.digest !== model.digest) {
      if (held && isActive(held)) atOnce.push(`${ref} at its old digest gets no more jobs`);
      whenReady.push(`${ref} is downloaded (${size}), tested and active`);
    } else if (!isActive(held)) whenReady.push(`${ref} is tested and active`);
    else if (JSON.stringify(held.engine) !== JSON.stringify(model.engine))
      whenReady.push(`the engine of ${ref} starts anew with other arguments`);
  }
  limits(before, after, atOnce, whenReady);
  for (const { engine, version, accelerator, image } of after.runtimes)
    if (!before?.runtimes.some((r) => r.image === image))
      images.push(`${engine} ${version} for ${accelerator}: ${image}`);
  for (const { engine, version, accelerator, image } of before?.runtimes ?? [])
    if (!after.runtimes.some((r) => r.image === image))
      atOnce.push(`the image of ${engine} ${version} for ${accelerator} starts no new pod`);
  if (before?.agent.image !== after.agent.image) images.push(`agent ${after.agent.version}: ${after.agent.image}`);
  if (before && before.agent.minVersion !== after.agent.minVersion)
    atOnce.push(`agents below ${after.agent.minVersion} leave the rotation`);
  return { atOnce, whenReady, images };
};

const limits = (
  before: SnapshotDocument | undefined,
  after: SnapshotDocument,
  atOnce: string[],
  whenReady: string[],
): void => {
  if (!before) return;
  const { environment } = after;
  if (before.participation[environment] !== after.participation[environment])
    (after.participation[environment] ? whenReady : atOnce).push(
      after.participation[environment] ? 'offers begin again' : 'no node is offered any job',
    );
  const rows: readonly (readonly [string, number, number])[] = [
    ['jobs.maxOutputTokens', before.jobs.maxOutputTokens, after.jobs.maxOutputTokens],
    ['jobs.maxQueue', before.jobs.maxQueue, after.jobs.maxQueue],
    ['jobs.timeouts.firstTokenMs', before.jobs.timeouts.firstTokenMs, after.jobs.timeouts.firstTokenMs],
    ['jobs.timeouts.gapMs', before.jobs.timeouts.gapMs, after.jobs.timeouts.gapMs],
    ['jobs.timeouts.totalMs', before.jobs.timeouts.totalMs, after.jobs.timeouts.totalMs],
  ];
  for (const [name, a, b] of rows)
    if (a !== b) (b < a ? atOnce : whenReady).push(`${name} ${b < a ? 'falls' : 'rises'} from ${a} to ${b}`);
  const tiers = [before, after].map((d) => TIERS.indexOf(d.isolation.minTier));
  if ((tiers[1] ?? 0) > (tiers[0] ?? 0))
    atOnce.push(`nodes isolated below ${after.isolation.minTier} leave the rotation`);
  for (const { id } of before.subclouds)
    if (!after.subclouds.some((s) => s.id === id)) atOnce.push(`subcloud ${id} is gone`);
};

/** One line for a node: what it will do with the configuration at `place`. */
export const nodeLine = (node: NodeLine, place: { readonly epoch: number; readonly version: number }): string => {
  const at = node.floor === null ? 'nothing accepted' : `v${node.floor.version} (epoch ${node.floor.epoch})`;
  const does =
    node.state === 'revoked'
      ? 'none: it is revoked'
      : node.floor !== null && compareVersions(node.floor, place) >= 0
        ? `refuses v${place.version}: it has accepted as much or more`
        : node.reasons.includes('NotConnected')
          ? `takes v${place.version} when it is back`
          : `takes v${place.version} at once`;
  return `${node.node}  ${node.state}  ${at} → ${does}`;
};
