import { expect } from 'chai';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { SignerKit, testSigner } from '../../test/support/signer-kit.ts';
import { createLogger } from '../lib/log.ts';
import { Metrics } from '../lib/metrics.ts';
import { type JobOffer, type JobResultMessage, type Sha256, sha256Hex, signStruct } from '../protocol/index.ts';
import { JobDesk } from './desk.ts';
import type { JobSink } from './job.ts';
import { Ledger } from './ledger.ts';
import { networkMetrics } from './metrics.ts';
import { systemRandom } from './random.ts';
import { DEFAULT_LIMITS } from './settings.ts';
import { SqliteStore } from './sqlite-store.ts';
import type { LedgerEntry } from './store.ts';

const NODE = testSigner('node');
const DIGEST: Sha256 = `sha256:${'d'.repeat(64)}`;
const LINES = Array.from({ length: 9 }, (_, i) => JSON.stringify({ choices: [{ index: 0, text: `word ${i} ` }] }));
const NOBODY: JobSink = { offered: () => {}, lines: () => {}, answered: () => {}, failed: () => {} };

/** A desk and one node; `killed` is the same store under a new desk, as after a SIGKILL. */
class DeskRig {
  readonly clock = new FakeClock();
  readonly domain = new SignerKit().domain;
  readonly store = new SqliteStore(':memory:');
  readonly offers: string[] = [];
  desk = this.#start();

  #start(): JobDesk {
    const { clock, domain, store } = this;
    const metrics = networkMetrics(new Metrics());
    const log = createLogger('test', 'silent');
    const nodeOf = () => undefined;
    const signer = testSigner('network');
    const ledger = new Ledger({
      store,
      clock,
      domain,
      signer,
      rootVersion: () => 1,
      nodeOf,
      receipts: metrics.receipts,
    });
    const link = {
      send: (_node: string, t: string, payload: string) => {
        if (t === 'job.offer') this.offers.push(payload);
        return true;
      },
      fits: () => true,
      applied: () => DIGEST,
      timeAt: () => clock.now(),
    };
    const desk = new JobDesk({
      clock,
      random: systemRandom,
      store,
      ledger,
      link,
      limits: DEFAULT_LIMITS,
      metrics,
      log,
    });
    const models = new Map([['tiny:v1', DIGEST]]);
    desk.nodeChanged({
      node: NODE.address,
      offers: true,
      slots: 4,
      capacity: 4,
      models,
      subclouds: [],
      isolated: false,
    });
    return desk;
  }
  killed(): void {
    this.desk = this.#start();
  }

  /** A job that the node has accepted. */
  begin(stream = true): JobOffer {
    const jobId = this.desk.submit(
      {
        ...{ kind: 'completions', model: 'tiny:v1', modelDigest: DIGEST, stream, priority: 5, keyId: 'caller' },
        deadline: this.clock.now() + 300_000,
        request: {},
      },
      NOBODY,
    );
    expect(jobId).to.be.a('string');
    const offer = JSON.parse(this.offers.at(-1) ?? '') as JobOffer;
    this.desk.accepted(NODE.address, offer);
    return offer;
  }
  deltas(offer: JobOffer, from: number, to: number): void {
    this.desk.delta(NODE.address, offer, from, LINES.slice(from, to));
  }
  /** The node's whole result; what the ledger holds of it then. */
  async result(offer: JobOffer): Promise<Pick<LedgerEntry, 'tokens'> & { verdict: string }> {
    const output = LINES.join('\n');
    const payload = this.offers.find((p) => p.includes(offer.jobId)) ?? '';
    const { jobId, attempt, model, modelDigest, configDigest } = offer;
    const result: JobResultMessage['result'] = {
      ...{ jobId, attempt, node: NODE.address, model, modelDigest, configDigest },
      ...{ requestHash: sha256Hex(payload), outputHash: sha256Hex(output), promptTokens: 7, completionTokens: 18 },
      ...{ finishReason: 'stop', finishedAt: 1 },
    };
    const sig = signStruct(NODE, this.domain, 'JobResult', result);
    const { receipt } = (await this.desk.result(NODE.address, { result, sig, output })) ?? {};
    const entry = [...this.store.ledger()].find((e) => e.result.jobId === jobId) as LedgerEntry;
    return { verdict: receipt?.verdict ?? '', tokens: entry.tokens };
  }
}

describe('jobs of a service that was killed', () => {
  let rig: DeskRig;
  beforeEach(() => {
    rig = new DeskRig();
  });
  afterEach(() => {
    rig.clock.stop();
    rig.store.close();
  });

  it('are billed by the lines that their callers had been given a second before', async () => {
    const offer = rig.begin();
    rig.deltas(offer, 0, 3);
    await rig.clock.advance(1_000);
    rig.deltas(offer, 3, 5);
    rig.killed();
    const { verdict, tokens } = await rig.result(offer);
    expect(verdict).to.equal('accepted');
    expect(tokens).to.include({ method: 'lines', completionBilled: 3, promptBilled: 7 });
  });
  it('are late and not billed when nothing of the answer had been given', async () => {
    const [streamed, whole] = [rig.begin(), rig.begin(false)];
    await rig.clock.advance(1_000);
    rig.killed();
    for (const offer of [streamed, whole]) {
      const { verdict, tokens } = await rig.result(offer);
      expect(verdict).to.equal('late');
      expect(tokens.completionBilled).to.equal(0);
    }
  });
  it('are billed by the lines when their callers had left before', async () => {
    const offer = rig.begin();
    rig.deltas(offer, 0, 4);
    rig.desk.cancel(offer.jobId, 'client_gone');
    rig.killed();
    const { verdict, tokens } = await rig.result(offer);
    expect([verdict, tokens.completionBilled]).to.deep.equal(['accepted', 4]);
  });
  it('are late and not billed when they had ended in another way before', async () => {
    const offer = rig.begin();
    rig.deltas(offer, 0, 4);
    await rig.clock.advance(1_000);
    rig.desk.lost(NODE.address, offer, 'engine_crash');
    rig.killed();
    const { verdict, tokens } = await rig.result(offer);
    expect([verdict, tokens.completionBilled]).to.deep.equal(['late', 0]);
  });
});
