import { z } from 'zod';
import { CodedError } from '../lib/errors.ts';
import {
  type Address,
  isSignatureForm,
  type Refusal,
  recoverAddress,
  type Signature,
  zAddress,
} from '../protocol/index.ts';

/** One signature as it lies beside a root, a snapshot or a ticket. */
export interface SignatureEntry {
  readonly signer: Address;
  readonly sig: Signature;
}

/** A role of a root: `threshold` distinct keys of `keys`. */
export interface Role {
  readonly threshold: number;
  readonly keys: readonly Address[];
}

/** Entries after this many are not read. */
export const MAX_SIGNATURES = 32;

const zEntry = z.object({ signer: zAddress, sig: z.string().refine(isSignatureForm) });

/** Who really signed a digest, each once; `flawed` when an entry was malformed or not by whom it names. */
export interface Evidence {
  readonly signers: ReadonlySet<Address>;
  readonly flawed: boolean;
}

/** Reads up to 32 entries over one EIP-712 digest. Never throws: what does not verify does not count. */
export const readEvidence = (digest: Uint8Array, entries: readonly unknown[]): Evidence => {
  const signers = new Set<Address>();
  let flawed = false;
  for (const raw of entries.slice(0, MAX_SIGNATURES)) {
    const entry = zEntry.safeParse(raw);
    if (entry.success && recoverAddress(digest, entry.data.sig) === entry.data.signer) signers.add(entry.data.signer);
    else flawed = true;
  }
  return { signers, flawed };
};

/**
 * The keys of the role that signed, when they reach its threshold.
 * @throws CodedError<Refusal> `threshold_not_met`, or `bad_signature` when an entry was malformed or mismatched
 */
export const requireThreshold = (evidence: Evidence, role: Role, what: string): readonly Address[] => {
  const counted = [...new Set(role.keys)].filter((key) => evidence.signers.has(key));
  if (counted.length >= role.threshold) return counted;
  const text = `${what} has ${counted.length} of ${role.threshold} signatures that it needs`;
  throw new CodedError<Refusal>(
    evidence.flawed ? 'bad_signature' : 'threshold_not_met',
    evidence.flawed ? `${text}; an entry is malformed or not by whom it names` : text,
  );
};
