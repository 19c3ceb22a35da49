import { type SnapshotDocument, subcloudsOf } from '../config/index.ts';
import type { Heartbeat } from '../protocol/index.ts';
import type { NodeRow } from './store.ts';

/** Whether a node's wish counts yet, and since when it wishes so. */
interface Wish {
  /** What is in force. */
  readonly member: boolean;
  readonly wish: boolean;
  readonly since: number;
}

/** A wish takes effect when it has stood for the subcloud's cooldownMs; the first one that is heard stands already. */
const follow = (before: Wish | undefined, wish: boolean, cooldownMs: number, now: number): Wish => {
  if (!before) return { member: wish, wish, since: now };
  const since = before.wish === wish ? before.since : now;
  return { member: now - since >= cooldownMs ? wish : before.member, wish, since };
};

/** The subclouds of one node: what it wishes to be in, its changes after their cooldown, and whether it may. */
export class Memberships {
  #wishes = new Map<string, Wish>();

  heard(heartbeat: Heartbeat, document: SnapshotDocument, now: number): void {
    this.#wishes = new Map(
      document.subclouds.map((s) => [
        s.id,
        follow(this.#wishes.get(s.id), heartbeat.subclouds.includes(s.id), s.cooldownMs ?? 0, now),
      ]),
    );
  }

  /**
   * What the node may be offered jobs of, and whether it is out of the global pool. Filters and lists are judged at each
   * look: what a node does not meet any more it leaves at once. Only a proved owner opens a closed subcloud.
   */
  of(row: NodeRow, heartbeat: Heartbeat, document: SnapshotDocument): { ids: readonly string[]; isolated: boolean } {
    if (document.subclouds.length === 0) return { ids: [], isolated: false };
    const member = (id: string): boolean => this.#wishes.get(id)?.member ?? heartbeat.subclouds.includes(id);
    const all = document.subclouds.map((s) => s.id);
    const { ids, global } = subcloudsOf(document, {
      node: row.node,
      owner: row.proved ? row.owner.id : undefined,
      labels: row.metadata.labels,
      gpuMemoryMiB: Math.max(0, ...heartbeat.hardware.gpus.map((gpu) => gpu.memoryMiB)),
      join: all.filter(member),
      leave: all.filter((id) => !member(id)),
    });
    // a closed one takes in whom it lists, but who does not know of it would turn every offer down
    return { ids: ids.filter(member), isolated: !global };
  }
}
