import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { CodedError, errorText } from '../lib/errors.ts';

const zKey = z
  .object({
    /** Who it is for; stands in the ledger instead of the key. */
    id: z.string().min(1).max(64),
    /** The key itself (the file lies in a Secret), or its hash. */
    key: z.string().min(8).optional(),
    sha256: z
      .string()
      .regex(/^[0-9a-f]{64}$/)
      .optional(),
    /** The only subclouds that it may ask for; the first is the default. */
    subclouds: z.array(z.string()).optional(),
    maxPriority: z.number().int().min(0).max(9).default(5),
    maxDeadlineMs: z.number().int().min(1).default(300_000),
    perMinute: z.number().int().min(1).optional(),
    /** May give orders to nodes. */
    admin: z.boolean().default(false),
  })
  .refine((k) => (k.key === undefined) !== (k.sha256 === undefined), { message: 'give exactly one of key and sha256' });
export type ApiKey = Omit<z.infer<typeof zKey>, 'key' | 'sha256'>;

const zFile = z.object({ keys: z.array(zKey) });

/** Looks a bearer token up; only hashes are kept in memory. */
export class ApiKeys {
  readonly #keys: readonly { readonly hash: Buffer; readonly key: ApiKey }[];

  /** @param text JSON `{"keys":[{"id","key"|"sha256",…}]}` @throws CodedError `bad_api_keys` */
  constructor(text = '{"keys":[]}') {
    let file: z.infer<typeof zFile>;
    try {
      file = zFile.parse(JSON.parse(text));
    } catch (error) {
      throw new CodedError('bad_api_keys', `the file of API keys is wrong: ${errorText(error).slice(0, 300)}`);
    }
    this.#keys = file.keys.map(({ key, sha256, ...rest }) => ({
      hash: sha256 === undefined ? hashOf(key ?? '') : Buffer.from(sha256, 'hex'),
      key: rest,
    }));
  }
  static read(path: string | undefined): ApiKeys {
    return path === undefined ? new ApiKeys() : new ApiKeys(readFileSync(path, 'utf8'));
  }

  /** The key behind an Authorization header, or undefined. */
  find(authorization: string | undefined): ApiKey | undefined {
    const token = /^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1];
    if (token === undefined) return undefined;
    const hash = hashOf(token);
    let found: ApiKey | undefined;
    for (const k of this.#keys) if (timingSafeEqual(k.hash, hash)) found = k.key;
    return found;
  }
}

const hashOf = (token: string): Buffer => createHash('sha256').update(token).digest();
