import { readFile } from 'node:fs/promises';
import { expect } from 'chai';
import { z } from 'zod';
import { zDocument } from './document.ts';

/** A test that shows what a field does: the file, and words of the test's title (or of its row in a table of cases). */
type Shown = readonly [file: string, title: string];

const ATTACKS = 'src/config/attacks.test.ts';
const FORMS = 'src/config/document-attacks.test.ts';
const RULES = 'src/config/rules.test.ts';
const PLAN = 'src/agent/plan.test.ts';
const SUBCLOUDS = 'src/network/subclouds.test.ts';
const MODELS = 'src/models/models.test.ts';
const PLACEMENT = 'src/placement/placement.test.ts';
const FIT = 'src/placement/fit.test.ts';
const REGISTRY = 'src/network/registry.test.ts';
const PUBLISHING = 'src/network/commands/publishing.test.ts';
const PODS = 'operator/node/snapshot-fields.test.ts';
const SYNC = 'src/agent/config-sync.test.ts';
const PARTICIPATION: Shown = [
  'src/network/snapshot-fields.test.ts',
  'participation.${' + 'environment} decides whether nodes of that environment get offers',
];
const ENGINE: Shown = ['src/runtime/engine-client.test.ts', 'stops by ${' + 'reason} when the engine does'];

/** Every field that a snapshot can carry. A field of the schema that is not listed here fails the test below. */
const FIELDS: Readonly<Record<string, Shown>> = {
  schema: [FORMS, 'schema 2'],
  network: [ATTACKS, 'a snapshot of another network'],
  environment: [ATTACKS, 'a document for another environment'],
  epoch: [ATTACKS, 'a snapshot of the epoch before'],
  version: [ATTACKS, 'the document says another version than its signatures'],
  'models[].name': [FORMS, 'the same model twice'],
  'models[].version': [PLACEMENT, 'follows include and exclude, by name or by version'],
  'models[].digest': [
    REGISTRY,
    'does not become active below the isolation tier or the agent version, or with another digest',
  ],
  'models[].state': [RULES, 'restricts to what both documents allow'],
  'models[].tasks[]': [
    'src/agent/offer-check.test.ts',
    'answers model_not_active for a kind that the model does not do',
  ],
  'models[].files[].path': [MODELS, 'refuses a manifest whose paths leave the folder before it touches the disk'],
  'models[].files[].size': [MODELS, 'never takes more bytes than are signed'],
  'models[].files[].sha256': [MODELS, 'refuses one flipped byte as a digest mismatch'],
  'models[].sources[]': [MODELS, 'falls back to the next source when the first has other bytes or none'],
  'models[].engine.name': [FORMS, 'shows that model as failed'],
  'models[].engine.minVersion': [PLAN, 'nothing when the listed image is too old for the model'],
  'models[].engine.args': ['src/runtime/launcher.test.ts', 'an argument outside the allow-list'],
  'models[].requires.gpus': [PLACEMENT, 'respects selectors, taints, cordons, products and the number of GPUs'],
  'models[].requires.gpuMemoryMiB': [PLACEMENT, 'names the missing MiB of each pool'],
  'models[].requires.computeCapability': [FIT, 'compute capability too low'],
  'models[].requires.diskMiB': [FIT, 'disk too small'],
  'models[].test.request': [PUBLISHING, 'prints answer and first-token time, then signs'],
  'models[].test.expect.contains': [
    PUBLISHING,
    'signs nothing when an answer is wrong, late, or nobody serves a model',
  ],
  'models[].test.expect.regex': [PUBLISHING, 'signs nothing when an answer is wrong, late, or nobody serves a model'],
  'models[].test.expect.maxFirstTokenMs': [
    PUBLISHING,
    'signs nothing when an answer is wrong, late, or nobody serves a model',
  ],
  'models[].weight': [PLACEMENT, 'takes the one with the fewest servers for its weight'],
  'models[].subclouds[]': [
    'src/network/snapshot-fields.test.ts',
    'a model for some subclouds gets offers on their nodes only',
  ],
  'runtimes[].engine': [FORMS, 'a runtime of an unknown ${' + 'field}'],
  'runtimes[].version': [PLAN, 'nothing when the listed image is too old for the model'],
  'runtimes[].image': [PLAN, 'nothing on a foreign image when nothing was applied'],
  'runtimes[].accelerator': [PODS, 'each accelerator gets its runtime image'],
  'agent.version': [PODS, 'an agent below the version that the network names is shown as outdated'],
  'agent.image': [PODS, 'the agent container gets the agent’s image'],
  'agent.minVersion': [PLAN, 'nothing when the agent is too old, and the engine stays'],
  'jobs.maxOutputTokens': ['src/agent/offer-check.test.ts', 'refuses more output than the configuration allows'],
  'jobs.maxQueue': [
    'src/agent/agent.test.ts',
    'keeps the old configuration when the new one is tampered with, and takes it when it is right',
  ],
  'jobs.timeouts.firstTokenMs': ENGINE,
  'jobs.timeouts.gapMs': ENGINE,
  'jobs.timeouts.totalMs': ENGINE,
  'isolation.minTier': [REGISTRY, 'does not become active below the isolation tier'],
  'participation.testnet': PARTICIPATION,
  'participation.mainnet': PARTICIPATION,
  'subclouds[].id': [RULES, 'places a node in open, semi-open and closed subclouds'],
  'subclouds[].access': [RULES, 'places a node in open, semi-open and closed subclouds'],
  'subclouds[].filters.labels': [SUBCLOUDS, 'are those it wishes whose labels and GPU memory it meets'],
  'subclouds[].filters.minGpuMemoryMiB': [SUBCLOUDS, 'are those it wishes whose labels and GPU memory it meets'],
  'subclouds[].nodes[]': [RULES, 'places a node in open, semi-open and closed subclouds'],
  'subclouds[].owners[]': [SUBCLOUDS, 'an owner counts only when proved'],
  'subclouds[].cooldownMs': [SUBCLOUDS, 'change only when a wish has stood for the cooldown'],
  'subclouds[].isolate': ['src/network/dispatcher.test.ts', 'isolated nodes out of the global pool'],
  'ttl.heartbeatMs': [REGISTRY, 'out of rotation by missed ones'],
  'ttl.missedHeartbeats': [REGISTRY, 'out of rotation by missed ones'],
  'ttl.pollMs': [SYNC, 'is asked for again after pollMs'],
  'ttl.retryMs': ['src/models/states.test.ts', 'retries when due'],
  'ttl.cacheMs': [MODELS, 'removes unlisted models only after the cache time'],
  maxStalenessSeconds: [SYNC, 'drains after maxStalenessSeconds, and comes back alone'],
  'trustedSources[]': [MODELS, 'does not ask an untrusted host, a redirect to one, nor plain http outside loopback'],
};

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
}
const leaves = (schema: Schema, path: string): string[] => {
  if (schema.properties)
    return Object.entries(schema.properties).flatMap(([k, s]) => leaves(s, path === '' ? k : `${path}.${k}`));
  return schema.items ? leaves(schema.items, `${path}[]`) : [path];
};

describe('the fields of a snapshot', () => {
  it('each stand in the table with the test that shows the effect', () => {
    const fields = leaves(z.toJSONSchema(zDocument, { io: 'input', unrepresentable: 'any' }) as Schema, '');
    expect(fields).to.include.members(['models[].files[].size', 'ttl.cacheMs', 'subclouds[].owners[]']);
    expect(Object.keys(FIELDS)).to.have.members(fields);
  });

  for (const file of new Set(Object.values(FIELDS).map(([file]) => file)))
    it(`name tests that exist in ${file}`, async () => {
      const text = await readFile(new URL(`../../${file}`, import.meta.url), 'utf8');
      for (const [field, shown] of Object.entries(FIELDS))
        if (shown[0] === file) expect(text, field).to.contain(shown[1]);
    });
});
