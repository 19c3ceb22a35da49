import { z } from 'zod';
import { CodedError, errorText } from '../lib/errors.ts';
import {
  canonicalJson,
  parseStrictJson,
  type Refusal,
  type Sha256,
  sha256Hex,
  zSha256,
  zUint,
} from '../protocol/index.ts';

/** How many digests of accepted snapshots a floor remembers. */
export const MAX_ACCEPTED = 64;

const zFloor = z.object({
  network: z.string(),
  chainId: zUint,
  environment: z.enum(['testnet', 'mainnet']),
  epoch: zUint,
  version: zUint,
  digest: zSha256.nullable(),
  rootVersion: zUint,
  accepted: z.array(zSha256).max(MAX_ACCEPTED),
});

/**
 * The lowest configuration that a state folder will still accept. It never falls but by a person's `config reset`.
 * `digest` null: only what is above (epoch, version) is accepted; (0, 0) is a node that has accepted nothing yet.
 */
export type Floor = Readonly<z.infer<typeof zFloor>>;

/** What floor.json holds: RFC 8785 of the floor with `check`, the sha256 of the same without it. */
export const encodeFloor = (floor: Floor): string => {
  const body = zFloor.parse(floor);
  return canonicalJson({ ...body, check: sha256Hex(canonicalJson(body)) });
};

/** @throws CodedError<Refusal> `floor_unreadable` for anything but a floor whose check holds */
export const decodeFloor = (bytes: Uint8Array): Floor => {
  try {
    const value = parseStrictJson(bytes);
    if (value === null || typeof value !== 'object') throw new CodedError('bad_json', 'is no object');
    const { check, ...body } = value as Record<string, unknown>;
    if (check !== sha256Hex(canonicalJson(body))) throw new CodedError('bad_json', 'its check does not hold');
    return zFloor.parse(body);
  } catch (error) {
    throw new CodedError<Refusal>(
      'floor_unreadable',
      `floor.json cannot be trusted (${errorText(error).slice(0, 120)})`,
      {
        cause: error,
      },
    );
  }
};

/** Order of (epoch, version): negative when a is below b. */
export const compareVersions = (
  a: { readonly epoch: number; readonly version: number },
  b: { readonly epoch: number; readonly version: number },
): number => a.epoch - b.epoch || a.version - b.version;

/** The floor after a snapshot was accepted. */
export const raiseFloor = (
  floor: Floor,
  accepted: { readonly epoch: number; readonly version: number; readonly digest: Sha256; readonly rootVersion: number },
): Floor => ({
  ...floor,
  ...accepted,
  rootVersion: Math.max(floor.rootVersion, accepted.rootVersion),
  accepted: [...floor.accepted.filter((d) => d !== accepted.digest), accepted.digest].slice(-MAX_ACCEPTED),
});
