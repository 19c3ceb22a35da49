import { CodedError, isCoded } from '../lib/errors.ts';
import type { Refusal } from '../protocol/index.ts';
import type { Floor } from './floor.ts';
import { openRoot, type TrustedRoot } from './root.ts';
import type { StateStore } from './store.ts';

/**
 * A person's way to reopen a state folder whose floor is lost or unreadable, or to lower a floor. The new floor has no
 * digest, so only what is above it is accepted. Which network it belongs to comes from the old floor where it can still be
 * read, else from the newest root in the folder, else from the given one.
 * @throws CodedError<Refusal> `bad_root` when none of them can be read, `state_unwritable`
 */
export const resetFloor = async (
  store: StateStore,
  to: { readonly epoch: number; readonly version: number },
  pinnedRoot?: string,
): Promise<Floor> => {
  const old = await readableFloor(store);
  const roots = [...(await store.loadRoots())].flatMap(([n, answer]) => openable(n, answer));
  const newest = roots.sort((a, b) => b.version - a.version)[0] ?? (pinnedRoot ? openRoot(pinnedRoot) : undefined);
  const identity = old ?? newest?.document;
  if (identity === undefined)
    throw new CodedError<Refusal>(
      'bad_root',
      'the state folder holds no root that can be read: give the pinned one with --root FILE',
    );
  const floor: Floor = {
    network: identity.network,
    chainId: identity.chainId,
    environment: identity.environment,
    epoch: to.epoch,
    version: to.version,
    digest: null,
    rootVersion: old?.rootVersion ?? newest?.version ?? 0,
    accepted: old?.accepted ?? [],
  };
  await store.saveFloor(floor);
  return floor;
};

const readableFloor = async (store: StateStore): Promise<Floor | undefined> => {
  try {
    return await store.loadFloor();
  } catch (error) {
    if (isCoded(error, 'floor_missing', 'floor_unreadable')) return undefined;
    throw error;
  }
};

const openable = (n: number, answer: string): TrustedRoot[] => {
  try {
    const root = openRoot(answer);
    return root.version === n ? [root] : [];
  } catch {
    return [];
  }
};
