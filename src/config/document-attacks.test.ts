import { expect } from 'chai';
import { type Attack, expectRefused, type Stage, stage } from '../../test/support/attack-stage.ts';
import { testModel } from '../../test/support/signer-kit.ts';
import { canonicalJson } from '../protocol/index.ts';

const deep = (depth: number): unknown => (depth === 0 ? 1 : [deep(depth - 1)]);
/** Publishes the document's canonical text after a change of the text. */
const rawDocument = (s: Stage, change: (text: string) => string): void => {
  s.kit.version = 2;
  s.kit.publishRaw(change(canonicalJson(s.kit.document())), { version: 2 });
};

const ATTACKS: readonly Attack[] = [
  {
    name: 'other bytes under the signed digest',
    code: 'digest_mismatch',
    act({ kit }) {
      const { snapshot, bytes } = kit.publish();
      kit.snapshots.set(snapshot.digest, Buffer.from(bytes.map((b, i) => (i === 20 ? b ^ 1 : b))));
    },
  },
  {
    name: 'a size that is not that of the bytes',
    code: 'digest_mismatch',
    act({ kit }) {
      const { bytes } = kit.publish();
      kit.publishRaw(bytes, { version: 2, size: bytes.length + 1 });
    },
  },
  {
    name: 'the same version with other content',
    code: 'same_version_other_digest',
    act: ({ kit }) => kit.publish({ version: 1, maxStalenessSeconds: 5 }),
  },
  { name: 'a snapshot that is not RFC 8785', code: 'not_canonical', act: (s) => rawDocument(s, (t) => `${t}\n`) },
  {
    name: 'a minus zero',
    code: 'not_canonical',
    act: (s) => rawDocument(s, (t) => t.replace('"maxQueue":8', '"maxQueue":-0')),
  },
  {
    name: 'duplicate keys in a snapshot',
    code: 'bad_json',
    act: (s) => rawDocument(s, (t) => t.replace('{', '{"agent":1,')),
  },
  {
    name: 'an integer beyond 2^53',
    code: 'bad_json',
    act: (s) => rawDocument(s, (t) => t.replace('"maxQueue":8', '"maxQueue":9007199254740992')),
  },
  { name: 'a BOM', code: 'bad_json', act: (s) => rawDocument(s, (t) => `\ufeff${t}`) },
  {
    name: 'a depth of 33',
    code: 'bad_json',
    act: (s) => s.kit.publishRaw(canonicalJson(s.kit.document({ version: 2, x: deep(32) }))),
  },
  { name: 'a snapshot above 1 MiB', code: 'too_large', act: (s) => s.kit.publishRaw(' '.repeat(1_048_577)) },
  { name: 'a signed size above 1 MiB', code: 'too_large', act: (s) => s.kit.publishRaw('{}', { size: 1_048_577 }) },
  {
    name: '1 025 models',
    code: 'too_large',
    act: ({ kit }) =>
      kit.publishRaw(
        canonicalJson(kit.document({ version: 2, models: Array.from({ length: 1025 }, (_, i) => testModel(`m${i}`)) })),
      ),
  },
  {
    name: 'the same model twice',
    code: 'bad_schema',
    act: ({ kit }) => kit.publishRaw(canonicalJson(kit.document({ version: 2, models: [testModel(), testModel()] }))),
  },
  {
    name: 'schema 2',
    code: 'bad_schema',
    act: ({ kit }) => kit.publishRaw(canonicalJson(kit.document({ version: 2, schema: 2 }))),
  },
  ...(['engine', 'accelerator'] as const).map((field) => ({
    name: `a runtime of an unknown ${field}`,
    code: 'bad_schema' as const,
    act: ({ kit }: Stage) =>
      kit.publishRaw(
        canonicalJson(
          kit.document({ version: 2, runtimes: [{ ...(kit.document().runtimes as object[])[0], [field]: 'other' }] }),
        ),
      ),
  })),
  {
    name: 'an unknown tier',
    code: 'bad_schema',
    act: ({ kit }) => kit.publishRaw(canonicalJson(kit.document({ version: 2, isolation: { minTier: 'vault' } }))),
  },
  {
    name: 'a missing field',
    code: 'bad_schema',
    act: ({ kit }) => kit.publishRaw(canonicalJson(kit.document({ version: 2, jobs: undefined }))),
  },
  {
    name: 'a model without files',
    code: 'bad_schema',
    act: ({ kit }) =>
      kit.publishRaw(canonicalJson(kit.document({ version: 2, models: [testModel('m', { files: undefined })] }))),
  },
  {
    name: 'an optional field of the wrong type',
    code: 'bad_schema',
    act: ({ kit }) =>
      kit.publishRaw(canonicalJson(kit.document({ version: 2, models: [testModel('m', { weight: '1' })] }))),
  },
  {
    name: 'an answer above 16 KiB',
    code: 'too_large',
    act: ({ kit }) => {
      kit.answer = `${kit.answer}${' '.repeat(16_384)}`;
    },
  },
  { name: 'an answer without a ticket', code: 'bad_schema', act: ({ kit }) => kit.tamper((a) => delete a.ticket) },
  {
    name: 'a digest in the other form',
    code: 'bad_schema',
    act: ({ kit }) => kit.tamper((a) => Object.assign(a.ticket as object, { digest: `0x${'1'.repeat(64)}` })),
  },
];

describe('attacks on the snapshot document and its form', () => {
  for (const attack of ATTACKS) it(`refuses ${attack.name} with ${attack.code}`, () => expectRefused(attack));

  it('lets a snapshot stand whose model’s content is wrong, and shows that model as failed', async () => {
    const { kit, update } = await stage();
    const wrong = {
      nofiles: { files: [] },
      state: { state: 'paused' },
      digest: { digest: 'sha256:1' },
      host: { sources: ['https://evil.example/'] },
      http: { sources: ['http://models.example/'] },
      task: { tasks: ['paint'] },
      engine: { engine: { name: 'other', minVersion: '1', args: {} } },
      expect: { test: { request: {}, expect: {} } },
    };
    kit.publish({ models: [testModel('good'), ...Object.entries(wrong).map(([n, over]) => testModel(n, over))] });
    const outcome = await update();
    if (outcome.kind !== 'accepted') throw new Error(outcome.message);
    expect(outcome.config.document.models.map((m) => m.name)).to.deep.equal(['good']);
    expect(outcome.config.document.failedModels.map((m) => m.name)).to.deep.equal(Object.keys(wrong));
  });
});
