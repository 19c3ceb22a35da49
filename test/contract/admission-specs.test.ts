/** What the API server says to specs of our resources: to the operator's account, to people, and to arguments of the engine. */
import { expect } from 'chai';
import {
  type Attempt,
  type Gate,
  MIRROR,
  OWNED_BY_NETWORK,
  RESULTITY,
  startGate,
  verdicts,
} from '../support/admission-rig.ts';

const at = (plural: string, name = ''): string =>
  `${RESULTITY}/namespaces/other/${plural}${name === '' ? '' : `/${name}`}?dryRun=All`;
const object = (kind: string, name: string, spec: object, metadata: object = {}): object => ({
  apiVersion: 'resultity.com/v1alpha1',
  kind,
  metadata: { name, ...metadata },
  spec,
});
const create = (who: string, plural: string, body: object): Attempt => ({
  who,
  method: 'POST',
  path: at(plural),
  body,
});
const patch = (who: string, plural: string, name: string, body: object): Attempt => ({
  who,
  method: 'PATCH',
  path: at(plural, name),
  body,
  type: 'application/merge-patch+json',
});
const NODE = { networkRef: { name: 'testnet' }, owner: { email: 'ops@example.com' } };
const OWNED_BY_FLEET = { ...OWNED_BY_NETWORK, kind: 'ResultityFleet', name: 'fleet' };

describe('the admission policies of specs', () => {
  let gate: Gate;
  before(async () => {
    gate = await startGate();
    const things: [string, string, object][] = [
      [
        'person',
        'resultitynetworks',
        object('ResultityNetwork', 'testnet', { endpoint: 'https://a.example', trust: { root: '{}' } }),
      ],
      ['person', 'resultityfleets', object('ResultityFleet', 'fleet', { replicas: 1, template: NODE })],
      ['person', 'resultitynodes', object('ResultityNode', 'single', NODE)],
      ['operator', 'resultitynodes', object('ResultityNode', 'fleet-0', NODE, { ownerReferences: [OWNED_BY_FLEET] })],
      [
        'operator',
        'approvedmodels',
        object('ApprovedModel', 'mirror', MIRROR, { ownerReferences: [OWNED_BY_NETWORK] }),
      ],
      ['person', 'approvedmodels', object('ApprovedModel', 'by-hand', MIRROR)],
    ];
    for (const [who, plural, body] of things) {
      const made = await gate.try({ who, method: 'POST', path: at(plural).replace('?dryRun=All', ''), body });
      expect(made.status, made.message).to.equal(201);
    }
  });
  after(() => gate?.stop());

  describe('the operator’s account', () => {
    const people = "the operator writes the specs of a fleet's own nodes only";
    verdicts(
      () => gate,
      [
        {
          title: 'a network’s annotations',
          attempt: () => patch('operator', 'resultitynetworks', 'testnet', { metadata: { annotations: { a: 'b' } } }),
        },
        {
          title: 'a network’s list of allowed repositories',
          attempt: () =>
            patch('operator', 'resultitynetworks', 'testnet', {
              spec: { images: { allowedRepositories: ['docker.io'] } },
            }),
          refused: people,
        },
        {
          title: 'a network’s endpoint',
          attempt: () =>
            patch('operator', 'resultitynetworks', 'testnet', { spec: { endpoint: 'https://evil.example' } }),
          refused: people,
        },
        {
          title: 'a network of its own',
          attempt: () =>
            create(
              'operator',
              'resultitynetworks',
              object('ResultityNetwork', 'own', { endpoint: 'https://a.example', trust: { root: '{}' } }),
            ),
          refused: people,
        },
        {
          title: 'the size of a fleet',
          attempt: () => patch('operator', 'resultityfleets', 'fleet', { spec: { replicas: 9 } }),
          refused: people,
        },
        {
          title: 'the finalizers of a person’s node',
          attempt: () =>
            patch('operator', 'resultitynodes', 'single', { metadata: { finalizers: ['resultity.com/node-cleanup'] } }),
        },
        {
          title: 'the owner of a person’s node',
          attempt: () => patch('operator', 'resultitynodes', 'single', { spec: { owner: { email: 'x@example.com' } } }),
          refused: people,
        },
        {
          title: 'a node of a fleet',
          attempt: () =>
            create(
              'operator',
              'resultitynodes',
              object('ResultityNode', 'fleet-1', NODE, { ownerReferences: [OWNED_BY_FLEET] }),
            ),
        },
        {
          title: 'the spec of a fleet’s node',
          attempt: () => patch('operator', 'resultitynodes', 'fleet-0', { spec: { paused: true } }),
        },
        {
          title: 'the spec of a model that it mirrors',
          attempt: () => patch('operator', 'approvedmodels', 'mirror', { spec: { state: 'archived' } }),
        },
      ],
    );
  });

  describe('ApprovedModels', () => {
    const spec = "it mirrors the network's signed snapshot and only the operator writes it";
    const owners = 'metadata.ownerReferences: only the operator makes mirrors';
    verdicts(
      () => gate,
      [
        {
          title: 'a mirror’s state, by a person',
          attempt: () => patch('person', 'approvedmodels', 'mirror', { spec: { state: 'archived' } }),
          refused: spec,
        },
        {
          title: 'a mirror’s needs, by a person',
          attempt: () => patch('person', 'approvedmodels', 'mirror', { spec: { requires: { gpuMemoryMiB: 2 } } }),
          refused: spec,
        },
        {
          title: 'a mirror taken from its network, by a person',
          attempt: () => patch('person', 'approvedmodels', 'mirror', { metadata: { ownerReferences: null } }),
          refused: owners,
        },
        {
          title: 'the same, by the garbage collector',
          attempt: () =>
            patch('garbage collector', 'approvedmodels', 'mirror', { metadata: { ownerReferences: null } }),
        },
        {
          title: 'a label on a mirror, by a person',
          attempt: () => patch('person', 'approvedmodels', 'mirror', { metadata: { labels: { team: 'x' } } }),
        },
        {
          title: 'a mirror’s deletion by a person (the operator makes it again)',
          attempt: () => ({ who: 'person', method: 'DELETE', path: at('approvedmodels', 'mirror') }),
        },
        {
          title: 'a model made by hand (it is never scheduled: NotInSnapshot)',
          attempt: () => create('person', 'approvedmodels', object('ApprovedModel', 'mine', MIRROR)),
        },
        {
          title: 'one made by hand that claims to mirror a snapshot',
          attempt: () =>
            create(
              'person',
              'approvedmodels',
              object('ApprovedModel', 'forged', MIRROR, { ownerReferences: [OWNED_BY_NETWORK] }),
            ),
          refused: owners,
        },
        {
          title: 'a model made by hand, changed by a person',
          attempt: () => patch('person', 'approvedmodels', 'by-hand', { spec: { state: 'archived' } }),
        },
        {
          title: 'one made by hand, turned into a mirror by a person',
          attempt: () =>
            patch('person', 'approvedmodels', 'by-hand', { metadata: { ownerReferences: [OWNED_BY_NETWORK] } }),
          refused: owners,
        },
      ],
    );
  });

  // no policy of its own: the CRD's rules judge them, from the same list (src/api/allow-list.ts)
  describe('arguments of the engine', () => {
    const node = (runtime: object): Attempt =>
      create('person', 'resultitynodes', object('ResultityNode', 'args', { ...NODE, runtime }));
    verdicts(
      () => gate,
      [
        { title: 'max-model-len', attempt: () => node({ extraArgs: { 'max-model-len': '2048' } }) },
        {
          title: 'trust-remote-code',
          attempt: () => node({ extraArgs: { 'trust-remote-code': 'true' } }),
          refused: 'holds a flag that may not be set; allowed are max-model-len',
        },
        {
          title: 'trust-remote-code in a fleet’s template',
          attempt: () =>
            create(
              'person',
              'resultityfleets',
              object('ResultityFleet', 'args', {
                replicas: 1,
                template: { ...NODE, runtime: { extraArgs: { 'trust-remote-code': 'true' } } },
              }),
            ),
          refused: 'holds a flag that may not be set; allowed are max-model-len',
        },
        { title: 'OMP_NUM_THREADS', attempt: () => node({ env: [{ name: 'OMP_NUM_THREADS', value: '4' }] }) },
        {
          title: 'LD_PRELOAD',
          attempt: () => node({ env: [{ name: 'LD_PRELOAD', value: '/cache/x.so' }] }),
          refused: '"LD_PRELOAD" is no variable that may be set',
        },
      ],
    );
  });
});
