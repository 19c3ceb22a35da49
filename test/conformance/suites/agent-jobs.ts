import {
  type Case,
  expectEqual,
  expectThat,
  type Frame,
  type Json,
  Key,
  keyOf,
  list,
  object,
  pause,
  Skip,
} from '../kit/index.ts';
import type { MinimalNetwork } from '../network/index.ts';
import { accepts, rejects } from './agent-cases.ts';

/** Many short words: an engine that repeats or continues them has something to do. */
const LONG = `Go on with: ${'a b c '.repeat(60)}`;
const of =
  (offer: Frame) =>
  ({ jobId }: Json): boolean =>
    jobId === offer.body.jobId;
const resultOf =
  (offer: Frame) =>
  ({ result }: Json): boolean =>
    object(result).jobId === offer.body.jobId;

/** §5, seen from the network. */
export const agentJobCases: Case<MinimalNetwork>[] = [
  {
    section: '5',
    title: 'a streamed job: accepted within 2 s, deltas a prefix of the output, a signed result over the exact request',
    run: async (network) => {
      const { peer } = await network.session();
      const offer = network.offer(peer);
      await peer.next('job.accept', 2_000, of(offer));
      const { body } = await peer.next('job.result', 30_000, resultOf(offer));
      network.checkResult(offer, body);
      peer.send('job.receipt', network.receipt(body));
      const lines: unknown[] = [];
      for (const { body: delta } of peer.frames.filter(
        ({ header, body: b }) => header.t === 'job.delta' && of(offer)(b),
      )) {
        expectEqual(delta.from, lines.length, 'from of a delta');
        expectThat(list(delta.lines).length > 0, 'a delta without lines');
        lines.push(...list(delta.lines));
      }
      const output = String(body.output).split('\n');
      expectEqual(output.slice(0, lines.length), lines, 'the lines as a prefix of the output');
      expectThat(!output.some((line) => line.includes('[DONE]') || line === ''), 'output has [DONE] or a blank line');
      expectThat(object(JSON.parse(output.at(-1) ?? '{}')).usage !== undefined, 'the output ends with the usage line');
      expectEqual(peer.problems, [], 'frames that break a rule');
      return `${lines.length} of ${output.length} lines by delta`;
    },
  },
  {
    section: '5',
    title: 'a job that is not streamed: the engine’s body as output, no deltas',
    run: async (network) => {
      const { peer } = await network.session();
      const body = await accepts(network, { stream: false });
      const { jobId, completionTokens } = object(body.result);
      expectThat(!peer.frames.some((f) => f.header.t === 'job.delta' && f.body.jobId === jobId), 'deltas came');
      const usage = object(object(JSON.parse(String(body.output))).usage);
      expectEqual(completionTokens, usage.completion_tokens, 'completionTokens as the engine counts them');
      return `${completionTokens} tokens`;
    },
  },
  {
    section: '5',
    title: 'an offer repeated while it runs is accepted again, repeated after its end it gets the same result bytes',
    run: async (network) => {
      const { peer } = await network.session();
      const offer = network.offer(peer, {}, LONG);
      await peer.next('job.accept', 2_000, of(offer));
      peer.send('job.offer', offer.payload);
      await peer.next('job.accept', 2_000, of(offer));
      const first = await peer.next('job.result', 60_000, resultOf(offer));
      peer.send('job.offer', offer.payload);
      const second = await peer.next('job.result', 5_000, resultOf(offer));
      expectEqual(second.body, first.body, 'the result');
      peer.send('job.receipt', network.receipt(first.body));
      return 'accepted twice, one result';
    },
  },
  {
    section: '5',
    title: 'reject codes, and their order where two hold',
    run: async (network) => {
      const past = { deadline: Date.now() - 1_000 };
      const zeros = { configDigest: `sha256:${'0'.repeat(64)}` };
      const { model } = network.publisher;
      const bad = { request: { model } };
      const done = object((await accepts(network)).result);
      const stale = { jobId: done.jobId, attempt: done.attempt };
      await pause(200);
      const other = { model: 'unknown:v1', request: { model: 'unknown:v1', messages: [] } };
      const wanted: [string, Json][] = [
        ['expired', past],
        ['expired', { ...past, ...zeros }],
        ['config_mismatch', zeros],
        ['config_mismatch', { modelDigest: `sha256:${'0'.repeat(64)}` }],
        ['config_mismatch', { ...zeros, ...bad }],
        ['model_not_active', other],
        ['model_not_active', { kind: 'embeddings', stream: false, request: { model, input: 'a' } }],
        ['wrong_subcloud', { subcloud: 'nowhere' }],
        ['wrong_subcloud', { subcloud: 'nowhere', ...stale }],
        ['stale_attempt', stale],
        ['stale_attempt', { ...stale, ...bad }],
        ['invalid_request', bad],
        ['invalid_request', { request: { model, messages: [], stream: true, max_tokens: 0 } }],
      ];
      const wrong: string[] = [];
      for (const [code, over] of wanted) {
        const seen = await rejects(network, over).catch((error: Error) => error.message);
        if (seen !== code) wrong.push(`expected ${code} for ${Object.keys(over).join('+')}, saw ${seen}`);
      }
      expectThat(wrong.length === 0, wrong.join('; '));
      return [...new Set(wanted.map(([code]) => code))].join(', ');
    },
  },
  {
    section: '5',
    title: 'a cancel is followed within 1 s by job.lost cancelled, also for an unknown job',
    run: async (network) => {
      const { peer } = await network.session();
      const offer = network.offer(peer, {}, LONG);
      await peer.next('job.delta', 10_000, of(offer));
      const from = performance.now();
      peer.send('job.cancel', { ...keyOf(offer), reason: 'client_gone' });
      const lost = await peer.next('job.lost', 3_000, of(offer));
      const ms = Math.round(lost.at - from);
      expectEqual(lost.body.reason, 'cancelled', 'reason');
      expectThat(ms <= 1_200, `after ${ms} ms`);
      peer.send('job.cancel', { jobId: 'never-offered', attempt: 1, reason: 'operator' });
      const unknown = await peer.next('job.lost', 2_000, ({ jobId }) => jobId === 'never-offered');
      expectEqual(unknown.body.reason, 'cancelled', 'reason for an unknown job');
      return `after ${ms} ms`;
    },
  },
  {
    section: '5',
    title: 'a result without receipt, or with a forged one, is sent again in the next session; a receipt settles it',
    run: async (network) => {
      const { peer } = await network.session();
      const offer = network.offer(peer);
      const first = await peer.next('job.result', 30_000, resultOf(offer));
      peer.send('job.receipt', network.receipt(first.body, 'accepted', Key.of('a forger')));
      const next = await network.reconnect();
      expectThat(!next.peer.closeCode, 'the forged receipt ended the session');
      const again = await next.peer.next('job.result', 5_000, resultOf(offer));
      expectEqual(again.body, first.body, 'the result in the next session');
      next.peer.send('job.receipt', network.receipt(first.body));
      await pause(300);
      const third = await network.reconnect();
      const more = await third.peer.maybe('job.result', 1_500, resultOf(offer));
      expectThat(!more, 'sent again after its receipt');
      const named = list(third.hello.jobs).some((job) => object(job).jobId === offer.body.jobId);
      expectThat(!named, 'hello still names it');
      return 'sent again with the same bytes, then settled';
    },
  },
  {
    section: '3',
    title: 'a running job goes on over a cut from the line that the network holds',
    run: async (network) => {
      const { peer } = await network.session();
      const offer = network.offer(peer, {}, LONG);
      await peer.next('job.delta', 10_000, of(offer));
      await pause(300);
      const next = await network.reconnect([{ ...keyOf(offer), deltas: 1 }]);
      const named = list(next.hello.jobs).map(object).find(of(offer));
      const done = network.calls.find(({ path, body }) => path === '/v1/results' && resultOf(offer)(body));
      if (!named && done) {
        network.checkResult(offer, done.body);
        throw new Skip('the job ended during the cut and its result came over /v1/results: give it a slower engine');
      }
      expectThat(named !== undefined && named.attempt === 1, `hello.jobs is ${JSON.stringify(next.hello.jobs)}`);
      const { body } = await next.peer.next('job.result', 60_000, resultOf(offer));
      network.checkResult(offer, body);
      next.peer.send('job.receipt', network.receipt(body));
      const deltas = next.peer.frames.filter(({ header, body: b }) => header.t === 'job.delta' && of(offer)(b));
      if (named.state === 'running') expectEqual(deltas[0]?.body.from, 1, 'from of the first delta of the new session');
      const output = String(body.output).split('\n');
      let at = 1;
      for (const delta of deltas) {
        expectEqual(delta.body.from, at, 'from');
        for (const line of list(delta.body.lines)) expectEqual(line, output[at++], `line ${at}`);
      }
      return `state ${named.state}, ${named.deltas} lines in hello, went on from line 1 of ${output.length}`;
    },
  },
  {
    section: '3',
    title: 'a running job that welcome does not name is aborted without a frame',
    run: async (network) => {
      for (let tries = 0; tries < 3; tries++) {
        const { peer } = await network.session();
        const offer = network.offer(peer, {}, LONG);
        await peer.next('job.delta', 10_000, of(offer));
        const next = await network.reconnect([]);
        const named = list(next.hello.jobs).map(object).find(of(offer));
        await pause(2_500);
        const about = next.peer.frames.filter(({ body }) => of(offer)(body) || resultOf(offer)(body));
        if (named?.state === 'running') {
          expectEqual(
            about.map(({ header }) => header.t),
            [],
            'frames about it',
          );
          await accepts(network);
          return 'no frame about it; the next job is taken';
        }
        for (const { header, body } of about)
          if (header.t === 'job.result') next.peer.send('job.receipt', network.receipt(body));
      }
      throw new Skip('three times the job had ended before the agent was back: give it a slower engine');
    },
  },
];
