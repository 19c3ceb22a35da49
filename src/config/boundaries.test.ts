import { expect } from 'chai';
import { SignerKit, testModel, testSigner } from '../../test/support/signer-kit.ts';
import { canonicalJson } from '../protocol/index.ts';
import { MemoryStateStore, updateConfig } from './index.ts';

const HOUR = 3_600_000;
const deep = (depth: number): unknown => (depth === 0 ? 1 : [deep(depth - 1)]);

/** What a node that starts from nothing says: `accepted` or the code of its refusal. */
const outcomeOf = async (kit: SignerKit, now = kit.now): Promise<string> => {
  const outcome = await updateConfig({ pinnedRoot: kit.pinnedRoot, store: new MemoryStateStore(), source: kit, now });
  return outcome.kind === 'accepted' ? 'accepted' : outcome.code;
};
const published = (over: Record<string, unknown> = {}): SignerKit => {
  const kit = new SignerKit();
  kit.publishRaw(canonicalJson(kit.document({ version: 1, ...over })));
  return kit;
};

/** Each limit of docs/protocol.md §7: the last value that is allowed and the first that is not. */
const LIMITS: readonly (readonly [what: string, within: () => SignerKit, beyond: () => SignerKit, code: string])[] = [
  [
    '1 024 models',
    () => published({ models: Array.from({ length: 1024 }, (_, i) => testModel(`m${i}`)) }),
    () => published({ models: Array.from({ length: 1025 }, (_, i) => testModel(`m${i}`)) }),
    'too_large',
  ],
  ['a depth of 32', () => published({ x: deep(31) }), () => published({ x: deep(32) }), 'bad_json'],
  ['1 MiB', () => sized(1_048_576), () => sized(1_048_577), 'too_large'],
  ['16 KiB of the answer', () => answerOf(16_384), () => answerOf(16_385), 'too_large'],
  ['64 KiB of a root', () => rootOf(65_536), () => rootOf(65_537), 'too_large'],
  ['32 signatures', () => behind(30), () => behind(31), 'threshold_not_met'],
  [
    'a ticket of an hour',
    () => ticketed((t) => ({ issuedAt: t, expiresAt: t + HOUR })),
    () => ticketed((t) => ({ issuedAt: t, expiresAt: t + HOUR + 1 })),
    'config_stale',
  ],
  [
    'a ticket from a clock that is a minute ahead',
    () => ticketed((t) => ({ issuedAt: t + 60_000, expiresAt: t + HOUR })),
    () => ticketed((t) => ({ issuedAt: t + 60_001, expiresAt: t + HOUR })),
    'config_stale',
  ],
  [
    'a ticket that ended less than a minute ago',
    () => ticketed((t) => ({ issuedAt: t - HOUR, expiresAt: t - 59_999 })),
    () => ticketed((t) => ({ issuedAt: t - HOUR, expiresAt: t - 60_000 })),
    'config_stale',
  ],
  ['a snapshot’s last millisecond', () => expiring(1), () => expiring(0), 'snapshot_expired'],
  ['a root’s last millisecond', () => rootExpiring(1), () => rootExpiring(0), 'root_expired'],
  ['the newest root’s version as the snapshot’s rootVersion', () => rooted(1), () => rooted(2), 'root_withheld'],
];

const sized = (size: number): SignerKit => {
  const bare = canonicalJson(new SignerKit().document({ version: 1, x: '' })).length;
  return published({ x: 'a'.repeat(size - bare) });
};
const answerOf = (size: number): SignerKit => {
  const kit = published();
  kit.answer = (kit.answer ?? '').padEnd(size);
  return kit;
};
const rootOf = (size: number): SignerKit => {
  const kit = new SignerKit();
  const root = kit.rotate('second');
  kit.roots.set(2, root.padEnd(size));
  kit.publish();
  return kit;
};
/** Two good signatures behind n of nobody. */
const behind = (n: number): SignerKit => {
  const kit = new SignerKit();
  const strangers = Array.from({ length: n }, (_, i) => testSigner(`stranger ${i}`));
  kit.serve(kit.publish(), [...strangers, ...kit.keys.config.slice(0, 2)]);
  return kit;
};
const ticketed = (times: (now: number) => { issuedAt: number; expiresAt: number }): SignerKit => {
  const kit = published();
  kit.ticket(times(kit.now));
  return kit;
};
const expiring = (left: number): SignerKit => {
  const kit = new SignerKit();
  kit.publishRaw(canonicalJson(kit.document({ version: 1 })), { expiresAt: kit.now + left });
  return kit;
};
const rootExpiring = (left: number): SignerKit => {
  const kit = new SignerKit();
  kit.addRoot({ expiresAt: kit.now + left });
  kit.publish();
  return kit;
};
const rooted = (rootVersion: number): SignerKit => {
  const kit = new SignerKit();
  kit.publishRaw(canonicalJson(kit.document({ version: 1 })), { rootVersion });
  return kit;
};

describe('the limits of a configuration', () => {
  for (const [what, within, beyond, code] of LIMITS) {
    it(`allow ${what}`, async () => {
      expect(await outcomeOf(within())).to.equal('accepted');
    });
    it(`refuse one more than ${what} with ${code}`, async () => {
      expect(await outcomeOf(beyond())).to.equal(code);
    });
  }
});
