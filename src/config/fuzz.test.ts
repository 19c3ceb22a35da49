import { expect } from 'chai';
import fc from 'fast-check';
import { SignerKit } from '../../test/support/signer-kit.ts';
import { canonicalJson, REFUSALS, type Refusal } from '../protocol/index.ts';
import { MemoryStateStore, type UpdateOutcome, updateConfig } from './index.ts';

/** Names the outcome; anything but a refusal of the closed set is a fault of ours. */
const outcomeOf = async (kit: SignerKit): Promise<Refusal | 'accepted'> => {
  const outcome: UpdateOutcome = await updateConfig({
    pinnedRoot: kit.pinnedRoot,
    store: new MemoryStateStore(),
    source: kit,
    now: kit.now,
  });
  if (outcome.kind === 'accepted') return 'accepted';
  expect(REFUSALS).to.include(outcome.code);
  return outcome.code;
};
const published = (): SignerKit => {
  const kit = new SignerKit();
  kit.rotate('second');
  kit.publish();
  return kit;
};
const flip = (text: string, at: number, to: number): string => {
  const bytes = Buffer.from(text);
  bytes[at % bytes.length] = to;
  return bytes.toString('latin1');
};

describe('hostile answers', () => {
  it('end in a refusal of the closed set or in what was signed, whatever byte is changed', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('answer', 'root', 'bytes'),
        fc.nat(),
        fc.integer({ min: 32, max: 126 }),
        async (what, at, to) => {
          const kit = published();
          const { snapshot, bytes } = kit.current!;
          const before = { answer: kit.answer!, root: kit.roots.get(2)!, bytes: Buffer.from(bytes).toString('latin1') }[
            what
          ]!;
          const after = flip(before, at, to);
          if (what === 'answer') kit.answer = after;
          if (what === 'root') kit.roots.set(2, after);
          if (what === 'bytes') kit.snapshots.set(snapshot.digest, Buffer.from(after, 'latin1'));
          const outcome = await outcomeOf(kit);
          if (what === 'bytes' && after !== before) expect(outcome).to.equal('digest_mismatch');
        },
      ),
      { numRuns: 200 },
    );
  }).timeout(60_000);

  it('are refused or judged by the schema when properly signed, whatever the document is', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('models', 'runtimes', 'jobs', 'ttl', 'subclouds', 'agent', 'trustedSources', 'schema'),
        fc.jsonValue(),
        async (field, value) => {
          const kit = published();
          kit.publishRaw(canonicalJson(kit.document({ version: 2, [field]: value })));
          await outcomeOf(kit);
        },
      ),
      { numRuns: 200 },
    );
  }).timeout(60_000);
});
