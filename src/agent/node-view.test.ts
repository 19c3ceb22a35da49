import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import fc from 'fast-check';
import { parse } from 'yaml';
import type { RuntimePhase } from '../api/index.ts';
import type { ModelStatus } from '../models/index.ts';
import { zHeartbeat } from '../protocol/index.ts';
import type { ModelView } from './model-book.ts';
import type { Step } from './model-next.ts';
import { heartbeatOf, type NodeView, statusOf } from './node-view.ts';
import type { PlanStep } from './plan-steps.ts';

interface Schema {
  readonly type: 'object' | 'array' | 'string' | 'integer';
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly enum?: readonly string[];
  readonly format?: string;
  readonly maxLength?: number;
  readonly maxItems?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly multipleOf?: number;
  readonly 'x-kubernetes-validations'?: readonly { readonly rule: string }[];
}
const crd = parse(readFileSync(join(import.meta.dirname, '../../crds/zz_generated.resultitynodes.yaml'), 'utf8'));
const agentSchema: Schema = crd.spec.versions[0].schema.openAPIV3Schema.properties.status.properties.agent;

/** What the API server would refuse. Server-side apply turns what is empty into null, which no field may be. */
const faults = (value: unknown, schema: Schema, at: string): string[] => {
  const wrong = (what: string): string[] => [`${at}: ${what}`];
  switch (schema.type) {
    case 'object': {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) return wrong('is no object');
      const fields = Object.entries(value);
      if (fields.length === 0) return wrong('is empty, which apply writes as null');
      return [
        ...(schema.required ?? []).flatMap((name) => (name in value ? [] : wrong(`lacks ${name}`))),
        ...fields.flatMap(([name, field]) => {
          const known = schema.properties?.[name];
          return known ? faults(field, known, `${at}.${name}`) : wrong(`has the unknown field ${name}`);
        }),
      ];
    }
    case 'array':
      if (!Array.isArray(value)) return wrong('is no list');
      if (value.length === 0) return wrong('is empty, which apply writes as null');
      if (value.length > (schema.maxItems ?? Number.POSITIVE_INFINITY)) return wrong('is too long');
      return value.flatMap((item, i) => faults(item, schema.items as Schema, `${at}[${i}]`));
    case 'string': {
      if (typeof value !== 'string') return wrong('is no text');
      const patterns = (schema['x-kubernetes-validations'] ?? []).flatMap(
        ({ rule }) => /^self\.matches\('(.+)'\)$/.exec(rule)?.[1] ?? [],
      );
      return [
        ...(value === '' ? wrong('is an empty text') : []),
        ...(value.length > (schema.maxLength ?? Number.POSITIVE_INFINITY) ? wrong('is too long') : []),
        ...(value.isWellFormed() ? [] : wrong('holds half a character')),
        ...(schema.enum && !schema.enum.includes(value) ? wrong(`${value} is none of its values`) : []),
        ...(schema.format === 'date-time' && !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(value) ? wrong('no time') : []),
        ...patterns.flatMap((p) => (new RegExp(p).test(value) ? [] : wrong(`${value} does not match ${p}`))),
      ];
    }
    case 'integer':
      if (!Number.isSafeInteger(value)) return wrong('is no integer');
      if ((value as number) < (schema.minimum ?? -Infinity) || (value as number) > (schema.maximum ?? Infinity))
        return wrong('is out of range');
      return (value as number) % (schema.multipleOf ?? 1) === 0 ? [] : wrong('is no multiple');
  }
};

const digest = (c: string) => `sha256:${c.repeat(64)}` as const;
const freshStart: NodeView = {
  nodeId: `0x${'1'.repeat(40)}`,
  bootId: 'boot',
  uptimeMs: 12.5,
  now: 1_800_000_000_000,
  version: '0.1.0',
  runtimeVersion: 'unknown',
  images: { agent: '', runtime: '' },
  network: { state: 'unregistered', reason: undefined },
  connected: false,
  superseded: false,
  config: { applied: null, pending: null, ticket: null, obstacle: null, floor: null },
  models: [],
  loaded: null,
  step: 'idle',
  readyBy: null,
  engine: {
    runtime: { phase: 'waiting', reason: 'LauncherMissing', message: '' },
    facts: null,
    metrics: null,
    tokensPerSecond: 0,
    wasReady: false,
    terminating: false,
  },
  hardware: { gpus: [], memoryMiB: 1, memoryUsedMiB: 1, disk: { totalMiB: 1, freeMiB: 1 } },
  capacity: { slots: 0, queue: 0 },
  used: 0,
  isolation: { tier: 'none', provedAt: 0 },
  clockOffsetMs: 0,
  subclouds: [],
  drain: 'no',
  paused: false,
  errors: [],
  lastError: null,
};

const ref = (version: number) => ({ epoch: 1, version, digest: digest(String(version)) });
const text = fc.string({ unit: 'binary', maxLength: 600 });
const status: fc.Arbitrary<ModelStatus> = fc.oneof(
  fc.record({
    state: fc.constant('pending' as const),
    reason: fc.constantFrom('queued', 'downloading', 'verifying', 'loading', 'testing'),
    failures: fc.nat(),
  }),
  fc.constant({ state: 'active', since: 1 } as const),
  fc.record({ state: fc.constant('inactive' as const), reason: text, failures: fc.nat() }),
  fc.record({ state: fc.constant('failed' as const), reason: text, failures: fc.nat(), retryAt: fc.nat() }),
  fc.constant({ state: 'archived' } as const),
) as fc.Arbitrary<ModelStatus>;
const models: fc.Arbitrary<ModelView[]> = fc
  .array(fc.record({ status, percent: fc.nat(100), note: fc.option(text, { nil: undefined }) }), { maxLength: 80 })
  .map((all) => all.map((m, i) => ({ ...m, ref: `tiny:v${i}`, digest: digest('a') })));
const views: fc.Arbitrary<NodeView> = fc
  .record({
    config: fc.record({
      applied: fc.constantFrom(null, ref(1)),
      pending: fc.constantFrom(null, ref(2)),
      ticket: fc.constantFrom(null, 'Fresh' as const, 'Expired' as const),
      obstacle: fc.option(fc.record({ step: fc.constantFrom<PlanStep>('prefetch', 'test'), reason: text, why: text })),
      floor: fc.constantFrom(null, { epoch: 1, version: 2 }),
    }),
    models,
    phase: fc.constantFrom<RuntimePhase>('waiting', 'loading', 'ready', 'crashed', 'stopped', 'draining'),
    step: fc.constantFrom<Step>('idle', 'installing', 'loading', 'proving', 'testing', 'active', 'quarantined'),
    drain: fc.constantFrom<NodeView['drain']>('no', 'draining', 'drained', 'handover'),
    images: fc.constantFrom({ agent: '', runtime: '' }, { agent: 'a@sha256:00', runtime: 'r@sha256:00' }),
    runtimeVersion: fc.constantFrom('', 'unknown', '0.32.0', 'x'.repeat(99)),
    isolation: fc.constantFrom<NodeView['isolation']>(
      { tier: 'none', provedAt: 0, why: 'no Landlock' },
      { tier: 'sandbox', provedAt: 1_800_000_000_000.25 },
    ),
    reason: fc.option(text, { nil: undefined }),
    lastError: fc.option(fc.record({ code: text, message: text, at: fc.constant(1_800_000_000_000) })),
    superseded: fc.boolean(),
    paused: fc.boolean(),
  })
  .map(({ phase, reason, ...over }) => ({
    ...freshStart,
    ...over,
    engine: { ...freshStart.engine, runtime: { ...freshStart.engine.runtime, phase } },
    network: { state: 'registered' as const, reason },
  }));

describe('what the node tells of itself', () => {
  it('is accepted by the CRD from the very first write on, when nothing is known yet', () => {
    const first = statusOf(freshStart);
    expect(faults(first, agentSchema, 'status.agent')).to.deep.equal([]);
    expect(first).not.to.have.any.keys('config', 'models', 'floor', 'lastError', 'image');
  });

  it('is accepted by the CRD in every shape', () => {
    fc.assert(
      fc.property(views, (view) => {
        expect(faults(statusOf(view), agentSchema, 'status.agent')).to.deep.equal([]);
      }),
      { numRuns: 300 },
    );
  });

  it('makes heartbeats of at most 8 KiB that the protocol accepts', () => {
    fc.assert(
      fc.property(views, (view) => {
        const body = heartbeatOf(view);
        expect(Buffer.byteLength(JSON.stringify(body))).to.be.at.most(8_192);
        expect(zHeartbeat.safeParse(body).error?.issues ?? []).to.deep.equal([]);
      }),
      { numRuns: 100 },
    );
  });

  it('shows what is applied and what is pending side by side', () => {
    const both = statusOf({
      ...freshStart,
      config: { applied: ref(1), pending: ref(2), ticket: null, obstacle: null, floor: null },
    });
    expect(both.config).to.deep.equal({ applied: digest('1'), pending: digest('2'), restrictedBy: digest('2') });
    const obstacle = { step: 'test', reason: 'TestInferenceFailed', why: 'wrong answer' } as const;
    const failed = statusOf({
      ...freshStart,
      config: { applied: ref(1), pending: ref(2), ticket: 'Stale', obstacle, floor: null },
    });
    expect(failed.config?.blocked).to.deep.equal({ step: 'test', reason: 'TestInferenceFailed' });
    const waiting = statusOf({
      ...freshStart,
      config: { applied: null, pending: ref(2), ticket: null, obstacle: null, floor: null },
    });
    expect(waiting.config).to.deep.equal({ pending: digest('2') });
  });
});
