import { gunzipSync, gzipSync } from 'node:zlib';
import { FIELD_MANAGER } from '../../src/api/contract.ts';
import type { ResultityNetwork } from '../../src/api/index.ts';
import { decodeFloor, encodeFloor } from '../../src/config/floor.ts';
import { type Floor, MAX_SNAPSHOT_BYTES, type StateStore } from '../../src/config/index.ts';
import { isNotFound, type KubeClient, ownerReference } from '../../src/kube/index.ts';
import { CodedError, errorText } from '../../src/lib/index.ts';
import { type Refusal, type Sha256, sha256Hex } from '../../src/protocol/index.ts';
import { KIND } from '../kinds.ts';
import { childLabels, configName } from '../names.ts';

const ROOT = /^root-([1-9][0-9]{0,15})\.json$/;
/** The longest previous snapshot that is kept, in characters of base64: two others and the chain need room in 1 MiB. */
const MAX_PREVIOUS = 200_000;
const floorIn = (data: ReadonlyMap<string, string>, key: 'floor.json' | 'approved-floor.json'): Floor | undefined => {
  const text = data.get(key);
  return text === undefined ? undefined : decodeFloor(Buffer.from(text));
};
/** Of the floor that is about to be replaced; a damaged one is no obstacle to that. */
const acceptedIn = (data: ReadonlyMap<string, string>): Sha256 | undefined => {
  try {
    return floorIn(data, 'floor.json')?.digest ?? undefined;
  } catch {
    return undefined;
  }
};
const snapshotKey = (digest: Sha256): string => `snapshot-${digest.replace(':', '-')}.gz`;

/**
 * The verified chain, evidence, floor and gzip of the snapshot, and of the one before, in one ConfigMap owned by the
 * ResultityNetwork. Nothing read from it is trusted: src/config verifies it again. The floor goes to the network's status first (`onFloor`), so that a
 * lost ConfigMap opens no way back. One writer: the leader.
 */
export class ConfigMapStateStore implements StateStore {
  readonly #client: KubeClient;
  readonly #network: ResultityNetwork;
  readonly #onFloor: (floor: Floor) => Promise<void>;
  #data: Map<string, string> | undefined;
  #binary = new Map<string, string>();

  constructor(client: KubeClient, network: ResultityNetwork, onFloor: (floor: Floor) => Promise<void>) {
    this.#client = client;
    this.#network = network;
    this.#onFloor = onFloor;
  }

  get name(): string {
    return configName(this.#network.metadata.name ?? '');
  }

  async loadRoots(): Promise<Map<number, string>> {
    const roots = new Map<number, string>();
    for (const [key, answer] of await this.#load()) {
      const n = ROOT.exec(key)?.[1];
      if (n !== undefined) roots.set(Number(n), answer);
    }
    return roots;
  }
  saveRoot(n: number, answer: string): Promise<void> {
    return this.#save((data) => data.set(`root-${n}.json`, answer));
  }

  async loadFloor(): Promise<Floor | undefined> {
    return floorIn(await this.#load(), 'floor.json');
  }
  async saveFloor(floor: Floor): Promise<void> {
    await this.#onFloor(floor);
    await this.#save((data) => {
      const before = acceptedIn(data);
      data.set('floor.json', encodeFloor(floor));
      if (before === floor.digest) return;
      // The floor is written last: its own snapshot is of use, and the one that a person approved. The one before is for
      // people who compare, as long as an object of the API has room for it.
      const keep = [floor.digest, floorIn(data, 'approved-floor.json')?.digest].flatMap((d) =>
        d ? snapshotKey(d) : [],
      );
      const previous = before && snapshotKey(before);
      if (previous && (this.#binary.get(previous)?.length ?? 0) <= MAX_PREVIOUS) keep.push(previous);
      for (const key of this.#binary.keys()) if (!keep.includes(key)) this.#binary.delete(key);
    });
  }

  /**
   * Keeps what is accepted now as what a person approved, so that it outlives newer ones and a restart. Nothing is written
   * when that stands already.
   */
  async approve(digest: Sha256): Promise<void> {
    const data = await this.#load();
    const [floor, evidence] = [data.get('floor.json'), data.get('evidence.json')];
    if (floor === undefined || evidence === undefined || decodeFloor(Buffer.from(floor)).digest !== digest) return;
    if (floorIn(data, 'approved-floor.json')?.digest === digest) return;
    await this.#save((next) => next.set('approved-floor.json', floor).set('approved-evidence.json', evidence));
  }

  /** The same store as it was when a person last approved: to be read, and verified, like any other. */
  approved(): StateStore {
    const unchanged = (): Promise<void> => Promise.resolve();
    return {
      loadRoots: () => this.loadRoots(),
      loadFloor: async () => floorIn(await this.#load(), 'approved-floor.json'),
      loadSnapshot: (digest) => this.loadSnapshot(digest),
      loadEvidence: async () => (await this.#load()).get('approved-evidence.json'),
      saveRoot: unchanged,
      saveFloor: unchanged,
      saveSnapshot: unchanged,
      saveEvidence: unchanged,
    };
  }

  async loadSnapshot(digest: Sha256): Promise<Uint8Array | undefined> {
    await this.#load();
    const packed = this.#binary.get(snapshotKey(digest));
    if (packed === undefined) return undefined;
    try {
      const bytes = gunzipSync(Buffer.from(packed, 'base64'), { maxOutputLength: MAX_SNAPSHOT_BYTES });
      return sha256Hex(bytes) === digest ? bytes : undefined;
    } catch {
      return undefined; // it is fetched again
    }
  }
  saveSnapshot(digest: Sha256, bytes: Uint8Array): Promise<void> {
    return this.#save(() => this.#binary.set(snapshotKey(digest), gzipSync(bytes).toString('base64')));
  }

  async loadEvidence(): Promise<string | undefined> {
    return (await this.#load()).get('evidence.json');
  }
  saveEvidence(answer: string): Promise<void> {
    return this.#save((data) => data.set('evidence.json', answer));
  }

  /** Read once; from then on this process is the only writer. Throws what the API server throws: no answer is no refusal. */
  async #load(): Promise<Map<string, string>> {
    if (this.#data) return this.#data;
    try {
      const { data, binaryData } = await this.#client.get(KIND.configMap, {
        name: this.name,
        namespace: this.#network.metadata.namespace,
      });
      this.#binary = new Map(Object.entries(binaryData ?? {}));
      this.#data = new Map(Object.entries(data ?? {}));
    } catch (error) {
      if (!isNotFound(error)) throw error;
      this.#data = new Map();
    }
    return this.#data;
  }

  async #save(change: (data: Map<string, string>) => unknown): Promise<void> {
    const before = await this.#load();
    const data = new Map(before);
    change(data);
    const { name = '', namespace } = this.#network.metadata;
    try {
      await this.#client.apply(
        KIND.configMap,
        {
          metadata: {
            name: this.name,
            ...(namespace === undefined ? {} : { namespace }),
            labels: childLabels('config', { network: name }),
            ownerReferences: [ownerReference(KIND.network, this.#network)],
          },
          data: Object.fromEntries(data),
          binaryData: Object.fromEntries(this.#binary),
        },
        { fieldManager: FIELD_MANAGER.operator },
      );
    } catch (error) {
      throw new CodedError<Refusal>(
        'state_unwritable',
        `ConfigMap ${this.name} cannot be written (${errorText(error)})`,
        { cause: error },
      );
    }
    this.#data = data;
  }
}
