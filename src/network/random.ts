import { randomBytes } from 'node:crypto';

/** Randomness as a port, so that a run can be repeated from its seed. */
export interface Random {
  /** Unpredictable bytes: nonces, job ids. */
  bytes(n: number): Uint8Array;
  /** Uniform in [0, 1): choices between equals. */
  next(): number;
}

export const systemRandom: Random = { bytes: (n) => randomBytes(n), next: Math.random };

const CROCKFORD = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

/** A ULID: 48 bits of wall time, 80 random bits; sorts by time, says nothing else. */
export const newJobId = (now: number, random: Random): string => {
  let value = BigInt(now);
  for (const byte of random.bytes(10)) value = (value << 8n) | BigInt(byte);
  let text = '';
  for (let i = 0; i < 26; i++) {
    text = (CROCKFORD[Number(value & 31n)] ?? '0') + text;
    value >>= 5n;
  }
  return text;
};

/** 32 random bytes as `0x` hex. */
export const random32 = (random: Random): `0x${string}` => `0x${Buffer.from(random.bytes(32)).toString('hex')}`;
