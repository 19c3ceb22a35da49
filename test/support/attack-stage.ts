import { expect } from 'chai';
import { type Floor, MemoryStateStore, type UpdateOutcome, updateConfig } from '../../src/config/index.ts';
import type { Refusal } from '../../src/protocol/index.ts';
import { SignerKit } from './signer-kit.ts';

export interface Stage {
  readonly kit: SignerKit;
  readonly store: MemoryStateStore;
  update(over?: Partial<Parameters<typeof updateConfig>[0]>): Promise<UpdateOutcome>;
}
/** A node that has accepted version 1. */
export const stage = async (): Promise<Stage> => {
  const kit = new SignerKit();
  const store = new MemoryStateStore();
  const update: Stage['update'] = (over = {}) =>
    updateConfig({ pinnedRoot: kit.pinnedRoot, store, source: kit, now: kit.now, ...over });
  kit.publish();
  expect((await update()).kind).to.equal('accepted');
  return { kit, store, update };
};

export interface Attack {
  readonly name: string;
  readonly code: Refusal;
  readonly act: (s: Stage) => unknown;
  readonly over?: Partial<Parameters<typeof updateConfig>[0]>;
}

/** Epoch and version of a floor. */
export const place = (floor: Floor | undefined): unknown => floor && [floor.epoch, floor.version];

/** What the attack leads to is refused with its code, and the floor stays where it was. */
export const expectRefused = async (attack: Attack): Promise<void> => {
  const s = await stage();
  await attack.act(s);
  const before = place(s.store.floor);
  const outcome = await s.update(attack.over);
  expect(outcome.kind === 'refused' ? outcome.code : 'accepted').to.equal(attack.code);
  expect(place(s.store.floor), 'the floor stays').to.deep.equal(before);
};
