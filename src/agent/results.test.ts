import { expect } from 'chai';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { JOB_MODEL, JobsRig } from '../../test/support/jobs-rig.ts';
import { until } from '../../test/support/until.ts';
import { NetworkError } from './http.ts';

/** 8 000 empty texts: no token of prompt, and an answer of 1.4 MB. */
const BIG_EMBEDDINGS = {
  kind: 'embeddings' as const,
  stream: false,
  request: { model: JOB_MODEL, input: Array.from({ length: 8_000 }, () => '') },
};
const KIB64 = 65_536;

describe('results on their way to a receipt', function () {
  this.timeout(60_000);
  let rig: JobsRig;
  afterEach(() => rig.close());

  it('go by POST /v1/results when they do not fit into a frame, streamed or not, and are settled by the answer', async () => {
    rig = await JobsRig.start({ frameBytes: KIB64, say: 'syllables '.repeat(400) });
    rig.offer({ jobId: 'streamed' });
    await until('the streamed one is receipted', () => rig.posted.length === 1 && rig.results.count === 0);
    rig.offer({ jobId: 'whole', ...BIG_EMBEDDINGS });
    await until('the other is receipted', () => rig.posted.length === 2 && rig.results.count === 0);
    const sizes = rig.posted.map((p) => Buffer.byteLength(p));
    expect(sizes[0]).to.be.above(KIB64);
    expect(sizes[1]).to.be.above(1 << 20);
    expect(rig.resultFrames()).to.deep.equal([]);
    // the lines went out as deltas all the same, and are a prefix of the result
    const lines = rig.of('job.delta').flatMap((d) => d.lines as string[]);
    expect(lines.length).to.be.above(100);
    expect(JSON.parse(rig.posted[0] as string).output.startsWith(lines.join('\n'))).to.equal(true);
    expect(rig.journal.unreceipted()).to.deep.equal([]);
  });

  it('are posted again, the same bytes, when the network was away or restarted in between', async () => {
    rig = await JobsRig.start({ frameBytes: KIB64 });
    const right = rig.answerPost;
    rig.answerPost = () => Promise.reject(new NetworkError('unreachable', 'the network restarts'));
    rig.offer({ jobId: 'big', ...BIG_EMBEDDINGS });
    await until('the first try', () => rig.posted.length === 1);
    rig.answerPost = right;
    rig.results.sendAll(); // what a new session does
    await until('it is receipted', () => rig.results.count === 0);
    expect(rig.posted).to.have.length(2);
    expect(rig.posted[1]).to.equal(rig.posted[0]);
    expect(rig.journal.get({ jobId: 'big', attempt: 1 })?.state).to.equal('receipted');
  });

  it('are resent in a new session until receipted, and the one that the network closes for is found and kept back', async () => {
    const clock = new FakeClock();
    rig = await JobsRig.start({ clock });
    // a network that closes with a terminal code at `poison` and gives receipts for all before it
    let refused = 0;
    const network = (): void => {
      rig.onSent = (t, body) => {
        if (t !== 'job.result' || !rig.online) return;
        const { jobId } = body.result as { jobId: string };
        if (jobId !== 'poison') return rig.results.receipt(rig.receiptOf(body as never));
        refused++;
        rig.online = false;
      };
    };
    rig.online = false;
    rig.answerPost = () => Promise.reject(new NetworkError('unreachable', 'away'));
    for (const jobId of ['first', 'poison', 'last']) {
      rig.offer({ jobId, stream: false });
      await until(`${jobId} is signed`, () => rig.journal.get({ jobId, attempt: 1 })?.state === 'result');
    }
    network();
    let atOnce = 0;
    for (let session = 0; session < 4; session++) {
      rig.online = true;
      rig.results.sendAll();
      for (let i = 0; i < 3; i++) {
        await settle(20);
        if (rig.online) await clock.advance(10_001); // one at a time, while one is suspected
      }
      if (rig.online) continue;
      rig.results.sessionRefused();
      atOnce++;
    }
    expect(refused).to.equal(2);
    expect(atOnce).to.equal(2);
    const state = (jobId: string) => rig.journal.get({ jobId, attempt: 1 })?.state;
    expect([state('first'), state('poison'), state('last')]).to.deep.equal(['receipted', 'result', 'receipted']);
    expect(rig.results.named()).to.deep.equal([]);
    expect(rig.errors).to.include('result_refused');
    expect(rig.records.filter((r) => r.kind === 'job.refused').map((r) => r.data)).to.deep.equal([
      { jobId: 'poison', attempt: 1 },
    ]);
    expect(await rig.metrics.text()).to.contain('resultity_agent_jobs_total{outcome="result_refused"} 1');
    // asked for by name it is not sent either; offered again it is over
    expect(rig.results.sendAgain({ jobId: 'poison', attempt: 1 })).to.equal(false);
    rig.offer({ jobId: 'poison' });
    expect(rig.of('job.reject').at(-1)).to.include({ jobId: 'poison', code: 'stale_attempt' });
    // and it is kept until 24 h after its deadline
    expect(rig.results.count).to.equal(1);
    rig.results.resendDue(clock.now() + 2 * 86_400_000);
    expect(rig.results.count).to.equal(0);
  });

  it('are not blamed for a close long after them, nor for one of the next session', async () => {
    const clock = new FakeClock();
    rig = await JobsRig.start({ clock });
    rig.offer({ jobId: 'slow', stream: false });
    await until('it is sent', () => rig.resultFrames().length === 1);
    await clock.advance(10_001);
    expect(rig.results.sessionRefused()).to.equal(false);
    rig.results.sendAll();
    expect(rig.results.sessionRefused()).to.equal(true);
    expect(rig.results.sessionRefused()).to.equal(false);
  });

  it('are kept back after two refusals on /v1/results, and a refused clock or nonce is no refusal', async () => {
    rig = await JobsRig.start({ frameBytes: KIB64 });
    const refuse = (status: number, code: string) => () => Promise.reject(new NetworkError(code, code, { status }));
    const again = async (): Promise<void> => {
      const before = rig.posted.length;
      rig.results.sendAll();
      await until('a post', () => rig.posted.length > before);
    };
    rig.answerPost = refuse(401, 'replayed');
    rig.offer({ jobId: 'big', ...BIG_EMBEDDINGS });
    await until('the first', () => rig.posted.length === 1);
    await again();
    rig.answerPost = refuse(401, 'bad_clock');
    await again();
    expect(rig.errors).to.deep.equal([]);
    rig.answerPost = refuse(413, 'too_large');
    await again();
    await again();
    await until('it is kept back', () => rig.errors.includes('result_refused'));
    rig.results.sendAll();
    expect(rig.posted).to.have.length(5);
    expect(rig.results.count).to.equal(1);
  });
});
