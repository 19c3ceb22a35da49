import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { parse, parseAllDocuments } from 'yaml';
import { type ResourceKind, resources } from '../../src/api/index.ts';
import { parseResultityNetwork, parseResultityNode } from '../../src/api/zz_generated.parsers.ts';
import { type Answer, type ApiServer, startApiServer } from '../support/api-server.ts';
import { type Manifest, smallest, withFields } from '../support/manifests.ts';
import { accepted } from './crd-accepted.ts';
import { type Refused, refused, refusedStatus } from './crd-cases.ts';

const folder = new URL('../../crds/', import.meta.url);
const definitions = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const texts = readdirSync(folder).map((name) => readFileSync(new URL(name, folder), 'utf8'));
const crds: Manifest[] = texts.map((text) => parse(text) as Manifest);

describe('the CRDs on a real API server', function () {
  this.timeout(120_000);
  let server: ApiServer;
  const answers: string[] = [];

  before(async () => {
    server = await startApiServer();
    for (const crd of crds) {
      const answer = await server.call('POST', definitions, crd);
      expect(answer.status, JSON.stringify(answer.body)).to.equal(201);
    }
    for (const { plural } of Object.values(resources)) await untilServed(plural);
  });
  after(() => server?.stop());

  const path = (kind: ResourceKind): string =>
    `/apis/resultity.com/v1alpha1/namespaces/default/${resources[kind].plural}`;
  /** As kubectl does by default. */
  const strict = '?fieldValidation=Strict&fieldManager=test';

  async function untilServed(plural: string): Promise<void> {
    for (let i = 0; i < 200; i++) {
      const answer = await server.call('GET', `/apis/resultity.com/v1alpha1/namespaces/default/${plural}`);
      if (answer.status === 200) return;
      await sleep(50);
    }
    throw new Error(`${plural} is not served`);
  }

  async function remove(kind: ResourceKind): Promise<void> {
    await server.call('DELETE', `${path(kind)}/${kind.toLowerCase()}`);
  }

  function expectRefused(answer: Answer, { field, says }: Refused): void {
    const causes: { field: string; message: string }[] = answer.body.details?.causes ?? [];
    answers.push(...causes.map((cause) => cause.message));
    expect(answer.status, JSON.stringify(answer.body)).to.equal(422);
    const told = causes.map((cause) => `${cause.field}: ${cause.message}`);
    const right = causes.some((cause) => cause.field === field && cause.message.includes(says));
    expect(right, `${field}: ${says}\nbut it said\n${told.join('\n')}`).to.equal(true);
  }

  it('are Established, and none is NonStructural', async () => {
    for (const { plural } of Object.values(resources)) {
      const { body } = await server.call('GET', `${definitions}/${plural}.resultity.com`);
      const conditions: { type: string; status: string }[] = body.status.conditions;
      expect(conditions.find(({ type }) => type === 'Established')?.status).to.equal('True');
      expect(conditions.map(({ type }) => type)).not.to.include('NonStructuralSchema');
    }
  });

  it('are below 256 KiB', () => {
    for (const crd of crds) expect(JSON.stringify(crd).length).to.be.below(256 * 1024);
  });

  for (const { title, kind, set } of accepted) {
    it(`accept ${title}`, async () => {
      const answer = await server.call('POST', `${path(kind)}${strict}&dryRun=All`, withFields(smallest[kind], set));
      expect(answer.status, JSON.stringify(answer.body)).to.equal(201);
    });
  }

  for (const one of refused) {
    const { kind, set, from, field, says } = one;
    const change = from === undefined ? '' : 'a change of ';
    it(`refuse ${change}${kind} ${JSON.stringify(set).slice(0, 100)}: ${field}: ${says.slice(0, 60)}`, async () => {
      const manifest = withFields(smallest[kind], set);
      if (from === undefined) {
        expectRefused(await server.call('POST', `${path(kind)}${strict}&dryRun=All`, manifest), one);
        return;
      }
      const made = await server.call('POST', `${path(kind)}${strict}`, withFields(smallest[kind], from));
      try {
        expect(made.status, JSON.stringify(made.body)).to.equal(201);
        const next = withFields(manifest, { 'metadata.resourceVersion': made.body.metadata.resourceVersion });
        expectRefused(await server.call('PUT', `${path(kind)}/${kind.toLowerCase()}${strict}`, next), one);
      } finally {
        await remove(kind);
      }
    });
  }

  for (const one of refusedStatus) {
    it(`refuse ${one.kind} ${JSON.stringify(one.set)}`, async () => {
      await server.call('POST', `${path(one.kind)}${strict}`, smallest[one.kind]);
      try {
        const at = `${path(one.kind)}/${one.kind.toLowerCase()}/status${strict}`;
        expectRefused(await server.call('PATCH', at, one.set, 'application/merge-patch+json'), one);
      } finally {
        await remove(one.kind);
      }
    });
  }

  it('have a refused example for every rule', () => {
    const missing = crds.flatMap(rulesOf).filter(({ message }) => !answers.some((answer) => answer.includes(message)));
    expect([...new Set(missing.map(({ message }) => message))]).to.deep.equal([]);
  });

  it('refuse a field that does not exist, and name it', async () => {
    const manifest = withFields(smallest.ResultityNode, { 'spec.modle': 'a' });
    const answer = await server.call('POST', `${path('ResultityNode')}${strict}`, manifest);
    expect(answer.status).to.equal(400);
    expect(answer.body.message).to.include('unknown field "spec.modle"');
  });

  it('give every default that the parsers give', async () => {
    const at = `${strict}&dryRun=All`;
    const node = await server.call('POST', `${path('ResultityNode')}${at}`, smallest.ResultityNode);
    expect(parseResultityNode(node.body).spec).to.deep.equal(node.body.spec);
    expect(parseResultityNode(smallest.ResultityNode).spec).to.deep.equal(node.body.spec);
    const network = await server.call('POST', `${path('ResultityNetwork')}${at}`, smallest.ResultityNetwork);
    expect(parseResultityNetwork(smallest.ResultityNetwork).spec).to.deep.equal(network.body.spec);
    expect(network.body.spec.rollout).to.deep.equal({
      mode: 'InPlace',
      maxUnavailable: 1,
      maxSurge: 0,
      pauseOnFailure: true,
    });
  });

  it('show the columns that users look for', async () => {
    const made = await server.call('POST', `${path('ResultityNode')}${strict}`, smallest.ResultityNode);
    expect(made.status).to.equal(201);
    const status = {
      phase: 'Active',
      modelSummary: 'qwen3-32b-instruct:v2',
      gpu: { summary: 'NVIDIA-H200' },
      config: { shortDigest: '9f31c2a7e0b4' },
      conditions: ['Ready', 'Serving'].map((type) => ({
        type,
        status: 'True',
        reason: 'AsExpected',
        message: '',
        lastTransitionTime: '2026-11-21T10:00:00Z',
      })),
    };
    try {
      const at = `${path('ResultityNode')}/resultitynode/status`;
      const patched = await server.call('PATCH', at, { status }, 'application/merge-patch+json');
      expect(patched.status, JSON.stringify(patched.body)).to.equal(200);
      const table = await server.call('GET', `${path('ResultityNode')}`, undefined, undefined, tableType);
      const { columnDefinitions, rows } = table.body;
      const names = columnDefinitions.map((column: { name: string }) => column.name);
      expect(names.slice(0, 8)).to.deep.equal(['Name', 'Phase', 'Ready', 'Serving', 'Model', 'GPU', 'Digest', 'Age']);
      const row = ['resultitynode', 'Active', 'True', 'True', 'qwen3-32b-instruct:v2', 'NVIDIA-H200', '9f31c2a7e0b4'];
      expect(rows[0].cells.slice(0, 7)).to.deep.equal(row);
    } finally {
      await remove('ResultityNode');
    }
  });

  it('scale a ResultityFleet', async () => {
    await server.call('POST', `${path('ResultityFleet')}${strict}`, smallest.ResultityFleet);
    try {
      const at = `${path('ResultityFleet')}/resultityfleet/scale`;
      const scaled = await server.call('PATCH', at, { spec: { replicas: 3 } }, 'application/merge-patch+json');
      expect(scaled.status, JSON.stringify(scaled.body)).to.equal(200);
      const read = await server.call('GET', `${path('ResultityFleet')}/resultityfleet`);
      expect(read.body.spec.replicas).to.equal(3);
    } finally {
      await remove('ResultityFleet');
    }
  });

  const examples = new URL('../../hack/examples/', import.meta.url);
  for (const file of readdirSync(examples))
    it(`take the example ${file}`, async () => {
      for (const document of parseAllDocuments(readFileSync(new URL(file, examples), 'utf8'))) {
        const object = document.toJS() as Manifest & { kind: ResourceKind | 'Secret' };
        const at = object.kind === 'Secret' ? '/api/v1/namespaces/default/secrets' : path(object.kind);
        const answer = await server.call('POST', `${at}${strict}&dryRun=All`, object);
        expect(answer.status, JSON.stringify(answer.body)).to.equal(201);
      }
    });
});

const tableType = 'application/json;as=Table;v=v1;g=meta.k8s.io';

interface RuleInCrd {
  readonly rule: string;
  readonly message: string;
}

/** All rules in a definition, wherever they stand. */
function rulesOf(value: unknown): RuleInCrd[] {
  if (Array.isArray(value)) return value.flatMap(rulesOf);
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) =>
    key === 'x-kubernetes-validations' ? (inner as RuleInCrd[]) : rulesOf(inner),
  );
}
