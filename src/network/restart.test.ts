import { expect } from 'chai';
import OpenAI from 'openai';
import { ServiceProcess } from '../../test/support/service-process.ts';
import { until } from '../../test/support/until.ts';
import { answerTo, WorkingNode } from '../../test/support/working-node.ts';
import type { LedgerEntry } from './store.ts';

const OPEN = 60;
const MODEL = 'tiny:v1';

type End = { readonly kind: 'answer'; readonly text: string } | { readonly kind: 'error'; readonly what: string };

/** The service as a process of its own, killed and stopped with requests of the official client open. */
describe('a restart of the service under load', function () {
  this.timeout(90_000);
  let site: ServiceProcess;
  let workers: WorkingNode[];
  let client: OpenAI;
  before(async () => {
    site = await ServiceProcess.start({ limits: { registrationsPerAddress: 100, callsPerAddress: 1_000 } });
    client = new OpenAI({ apiKey: site.apiKey, baseURL: `${site.url}/v1`, maxRetries: 6 });
  });
  /** Lets the nodes begin to answer. */
  let go: () => void;
  beforeEach(async () => {
    const { promise: hold, resolve } = Promise.withResolvers<void>();
    go = resolve;
    const start = (name: string) =>
      new WorkingNode(site.node(name), { models: site.models, slots: 40, lineMs: 400, hold }).start();
    workers = await Promise.all(['a', 'b'].map(start));
  });
  afterEach(() => Promise.all(workers.map((w) => w.stop())));
  after(() => site.close());

  const question = (i: number) => ({ model: MODEL, messages: [{ role: 'user' as const, content: `question ${i}` }] });
  const one = async (i: number): Promise<End> => {
    try {
      if (i % 2 === 0) {
        const { choices } = await client.chat.completions.create(question(i));
        return { kind: 'answer', text: choices[0]?.message.content ?? '' };
      }
      let text = '';
      let ended = false;
      for await (const part of await client.chat.completions.create({ ...question(i), stream: true })) {
        text += part.choices[0]?.delta.content ?? '';
        ended ||= part.choices[0]?.finish_reason === 'stop';
      }
      return ended ? { kind: 'answer', text } : { kind: 'error', what: 'a stream ended without its end' };
    } catch (error) {
      return { kind: 'error', what: String(error) };
    }
  };
  const ledger = async (): Promise<LedgerEntry[]> =>
    (await site.run('ledger', 'export', '--data', site.path('data')))
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line));
  const open = async (): Promise<{ before: number; ends: Promise<End[]> }> => {
    const before = (await ledger()).length;
    const ends = Promise.all(Array.from({ length: OPEN }, (_, i) => one(i)));
    await until('all are at work', () => workers.reduce((n, w) => n + w.running, 0) === OPEN, 20_000);
    go();
    return { before, ends };
  };
  /** Every result is receipted, every signature holds, no job is accepted or billed twice. */
  const settle = async (before: number): Promise<LedgerEntry[]> => {
    await until('every result is receipted', () => workers.every((w) => w.unreceipted === 0), 20_000);
    const judged = await site.run(
      'verify-ledger',
      '--data',
      site.path('data'),
      '--root',
      site.path('net/roots/1.json'),
    );
    expect(judged).to.contain('sound');
    const entries = (await ledger()).slice(before);
    const billed = entries.filter((e) => e.tokens.completionBilled > 0);
    expect(new Set(billed.map((e) => e.result.jobId)).size).to.equal(billed.length);
    return entries;
  };

  it('SIGTERM: who is being served gets the answer, who comes meanwhile is told to come back and does', async () => {
    const { before, ends } = await open();
    const stopped = site.end('SIGTERM');
    await until('it is stopping', () => site.log.includes('"stopping"'));
    const late = one(1_000);
    await stopped;
    await site.serve();
    expect(await ends).to.deep.equal(
      Array.from({ length: OPEN }, (_, i) => ({ kind: 'answer', text: answerTo(`question ${i}`) })),
    );
    expect(await late).to.deep.equal({ kind: 'answer', text: answerTo('question 1000') });
    const entries = await settle(before);
    expect(entries.map((e) => e.receipt.receipt.verdict)).to.deep.equal(Array(OPEN + 1).fill('accepted'));
  });

  const moments: [name: string, reached: () => boolean][] = [
    ['while the nodes are at work', () => true],
    ['while results come in', () => workers.some((w) => w.receipts.length > 0)],
  ];
  for (const [name, reached] of moments)
    it(`SIGKILL ${name}: every request ends with its right answer or an error, no job is billed twice`, async () => {
      const { before, ends } = await open();
      await until(name, reached);
      await site.end('SIGKILL');
      await site.serve();
      const all = await ends;
      const wrong = all.filter((e, i) => e.kind === 'answer' && e.text !== answerTo(`question ${i}`));
      expect(wrong).to.deep.equal([]);
      // what is not streamed had no part of its answer yet, so the client asked again by itself
      const unstreamed = all.filter((_, i) => i % 2 === 0);
      expect(unstreamed.filter((e) => e.kind === 'error')).to.deep.equal([]);
      const entries = await settle(before);
      const accepted = entries.filter((e) => e.receipt.receipt.verdict === 'accepted');
      expect(accepted.length).to.be.at.least(all.filter((e) => e.kind === 'answer').length);
    });
});
