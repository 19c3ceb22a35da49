import { fakeAnswer } from '../agent/index.ts';
import {
  type Case,
  digestOf,
  expectEqual,
  expectThat,
  FORMS,
  type Frame,
  isInteger,
  type Json,
  keyOf,
  list,
  object,
  type Peer,
  pause,
} from '../kit/index.ts';
import { expectClean, type NetworkContext } from './network-context.ts';

const accept = (peer: Peer, offer: Frame): void => void peer.send('job.accept', keyOf(offer));
const deltas = (peer: Peer, offer: Frame, from: number, lines: readonly string[]): void =>
  void peer.send('job.delta', { ...keyOf(offer), from, lines });
const receiptOf = (peer: Peer, offer: Frame): Promise<Frame> =>
  peer.next('job.receipt', 5_000, (body) => object(body.receipt).jobId === offer.body.jobId);
/** Lines as the caller shall see them: all but the usage line, then the end. */
const forCaller = (lines: readonly string[]): string[] => [
  ...lines.filter((line) => !line.includes('"choices":[]')),
  '[DONE]',
];

/** §5: the way of a job, from the OpenAI side to the receipt. Needs an API key and no other node with the model. */
export const networkJobCases: Case<NetworkContext>[] = [
  {
    section: '5',
    title: 'a streamed chat: offer, accept, progress, deltas passed on line by line, result, receipt accepted',
    run: async (context) => {
      const { agent } = context;
      const peer = await context.ready();
      const called = context.chat({ stream: true });
      const offer = await context.offer(peer);
      const { body } = offer;
      const model = context.model();
      expectEqual(body.kind, 'chat.completions', 'kind');
      expectEqual([body.model, body.modelDigest], [`${model.name}:${model.version}`, model.digest], 'model');
      expectEqual(body.configDigest, object(agent.config).digest, 'configDigest');
      expectThat(isInteger(body.attempt) && isInteger(body.priority) && isInteger(body.deadline), 'integers');
      expectEqual([body.stream, object(body.request).stream], [true, true], 'stream');
      expectEqual(object(object(body.request).stream_options).include_usage, true, 'include_usage in the offer');
      accept(peer, offer);
      peer.send('job.progress', { ...keyOf(offer), phase: 'prefill' });
      const answer = fakeAnswer(body);
      deltas(peer, offer, 0, answer.lines.slice(0, 1));
      deltas(peer, offer, 1, answer.lines.slice(1));
      const result = agent.result(offer, answer);
      peer.send('job.result', result);
      const receipt = await receiptOf(peer, offer);
      agent.checkReceipt(receipt.body, result, 'accepted');
      const caller = await called;
      expectEqual(caller.status, 200, 'status for the caller');
      expectEqual(caller.lines, forCaller(answer.lines), 'lines of the caller (without the usage line)');
      expectEqual(caller.headers['resultity-job'], body.jobId, 'header resultity-job');
      expectEqual(caller.headers['resultity-node'], agent.node, 'header resultity-node');
      expectClean(peer);
      return `${answer.lines.length} lines, receipt accepted by ${receipt.body.signer}`;
    },
  },
  {
    section: '5',
    title: 'a caller who asks for usage gets the usage line; lines not sent as deltas are passed on from the result',
    run: async (context) => {
      const peer = await context.ready();
      const called = context.chat({ stream: true, stream_options: { include_usage: true } });
      const offer = await context.offer(peer);
      accept(peer, offer);
      const answer = fakeAnswer(offer.body);
      deltas(peer, offer, 0, answer.lines.slice(0, 3));
      peer.send('job.result', context.agent.result(offer, answer));
      await receiptOf(peer, offer);
      expectEqual((await called).lines, [...answer.lines, '[DONE]'], 'lines of the caller');
      return `3 of ${answer.lines.length} lines by delta, the rest from the result`;
    },
  },
  {
    section: '5',
    title: 'an answer that is not streamed is passed on byte for byte; result and receipt can be fetched and verified',
    run: async (context) => {
      const { agent, target } = context;
      const peer = await context.ready();
      const called = context.chat();
      const offer = await context.offer(peer);
      expectEqual(offer.body.stream, false, 'stream');
      accept(peer, offer);
      const answer = fakeAnswer(offer.body);
      const result = agent.result(offer, answer);
      peer.send('job.result', result);
      const receipt = await receiptOf(peer, offer);
      expectEqual((await called).text, answer.output, 'body of the answer');
      const path = `/v1/receipts/${offer.body.jobId}`;
      const fetched = await agent.client.get(path, { authorization: `Bearer ${target.apiKey}` });
      const entry = object(list(fetched.body.receipts)[0]);
      expectEqual([fetched.body.jobId, entry.resultSig], [offer.body.jobId, result.sig], 'receipts by HTTP');
      expectEqual(entry.receipt, receipt.body.receipt, 'the fetched receipt');
      agent.checkReceipt(entry, { result: entry.result }, 'accepted');
      const unknown = await agent.client.get('/v1/receipts/unknown', { authorization: `Bearer ${target.apiKey}` });
      expectEqual(unknown.status, 404, 'status for an unknown job');
      const keyless = await agent.client.get(path);
      expectEqual([keyless.status, object(keyless.body.error).code], [401, 'bad_api_key'], 'without a key');
      return `${answer.output.length} bytes`;
    },
  },
  {
    section: '5',
    title: 'a result sent again, on the socket, over HTTP or in a new session, gets the same receipt bytes',
    run: async (context) => {
      const { agent } = context;
      const peer = await context.ready();
      const called = context.chat();
      const offer = await context.offer(peer);
      accept(peer, offer);
      const result = agent.result(offer);
      peer.send('job.result', result);
      const first = await receiptOf(peer, offer);
      peer.send('job.result', result);
      const again = await receiptOf(peer, offer);
      expectEqual(again.payload, first.payload, 'payload on the socket');
      const http = await agent.call('POST', '/v1/results', result);
      expectEqual(http.status, 200, 'status on /v1/results');
      expectEqual(http.text, first.payload, 'answer of /v1/results');
      const later = await context.again();
      later.send('job.result', result);
      expectEqual((await receiptOf(later, offer)).payload, first.payload, 'payload in a new session');
      await called;
      const other = agent.result(offer, fakeAnswer(offer.body), { finishedAt: Date.now() + 1 });
      later.send('job.result', other);
      agent.checkReceipt((await receiptOf(later, offer)).body, other, 'duplicate');
      return 'same bytes three times; another result of the job is a duplicate';
    },
  },
  {
    section: '5',
    title: 'verdict rejected: output that does not match its hash, lines that are no prefix of the output',
    run: async (context) => {
      const { agent } = context;
      const spoilers: ((offer: Frame, peer: Peer) => Json)[] = [
        (offer) => ({ ...agent.result(offer), output: 'something else' }),
        (offer) => agent.result(offer, fakeAnswer(offer.body), { requestHash: digestOf('x') }),
        (offer, peer) => {
          deltas(peer, offer, 0, ['{"choices":[{"index":0,"delta":{"content":"another"}}]}']);
          return agent.result(offer);
        },
      ];
      for (const [n, spoil] of spoilers.entries()) {
        const peer = await context.ready();
        const hangUp = new AbortController();
        const called = context.chat({ stream: n === 2 }, hangUp.signal);
        const offer = await context.offer(peer);
        accept(peer, offer);
        const result = spoil(offer, peer);
        peer.send('job.result', result);
        agent.checkReceipt((await receiptOf(peer, offer)).body, result, 'rejected');
        hangUp.abort();
        await called.catch(() => {});
        await peer.close(4000);
      }
      return 'wrong outputHash, wrong requestHash, another first line';
    },
  },
  {
    section: '5',
    title: 'a result with a wrong inner signature closes 4401 without a receipt',
    run: async (context) => {
      const { agent, second } = context;
      const peer = await context.ready();
      const hangUp = new AbortController();
      const called = context.chat({}, hangUp.signal);
      const offer = await context.offer(peer);
      accept(peer, offer);
      const good = agent.result(offer);
      peer.send('job.result', { ...good, sig: second.key.sign(agent.domain, 'JobResult', object(good.result)) });
      const { code } = await peer.closeWithin(5_000);
      expectEqual(code, 4401, 'code');
      expectThat(!peer.frames.some(({ header }) => header.t === 'job.receipt'), 'a receipt came');
      hangUp.abort();
      await called.catch(() => {});
      return 'closed 4401';
    },
  },
  {
    section: '5',
    title: 'lines already held are skipped, from above them closes 4400',
    run: async (context) => {
      const { agent } = context;
      const peer = await context.ready();
      const called = context.chat({ stream: true });
      const offer = await context.offer(peer);
      accept(peer, offer);
      const answer = fakeAnswer(offer.body);
      deltas(peer, offer, 0, answer.lines.slice(0, 4));
      deltas(peer, offer, 2, answer.lines.slice(2, 6));
      deltas(peer, offer, 7, answer.lines.slice(7));
      expectEqual((await peer.closeWithin(5_000)).code, 4400, 'code for a gap of lines');
      const again = await context.again({ jobs: [{ ...keyOf(offer), state: 'running', deltas: 6 }] });
      const wanted = again.frames.find(({ header }) => header.t === 'welcome')?.body.jobs;
      const mine = list(wanted).filter((job) => object(job).jobId === offer.body.jobId);
      expectEqual(mine, [{ ...keyOf(offer), deltas: 6 }], 'welcome.jobs');
      const rest: Frame = offer;
      deltas(again, rest, 6, answer.lines.slice(6));
      const result = agent.result(offer, answer);
      again.send('job.result', result);
      agent.checkReceipt((await receiptOf(again, offer)).body, result, 'accepted');
      expectEqual((await called).lines, forCaller(answer.lines), 'lines of the caller');
      return 'six lines held over the cut; the caller saw each line once';
    },
  },
  {
    section: '3',
    title: 'a job of welcome that hello did not name is given up, and its attempt’s result is late',
    run: async (context) => {
      const { agent } = context;
      const peer = await context.ready();
      const called = context.chat();
      const offer = await context.offer(peer);
      accept(peer, offer);
      await pause(100);
      const next = await context.again();
      const again = await context.offer(next);
      expectEqual(again.body.jobId, offer.body.jobId, 'jobId of the second offer');
      expectThat(Number(again.body.attempt) > Number(offer.body.attempt), 'attempt did not rise');
      const old = agent.result(offer);
      next.send('job.result', old);
      agent.checkReceipt((await receiptOf(next, offer)).body, old, 'late');
      accept(next, again);
      const result = agent.result(again);
      next.send('job.result', result);
      agent.checkReceipt((await receiptOf(next, again)).body, result, 'accepted');
      expectEqual((await called).status, 200, 'status for the caller');
      return `attempt ${offer.body.attempt} late, attempt ${again.body.attempt} accepted`;
    },
  },
  {
    section: '5',
    title: 'job.lost and job.reject bring the job back with a higher attempt',
    run: async (context) => {
      const { agent } = context;
      const peer = await context.ready();
      const called = context.chat();
      const attempts: unknown[] = [];
      for (const answer of ['job.reject', 'job.lost']) {
        const offer = await context.offer(peer, 15_000);
        attempts.push(offer.body.attempt);
        if (answer === 'job.lost') accept(peer, offer);
        const more = answer === 'job.lost' ? { reason: 'engine_error' } : { code: 'at_capacity' };
        peer.send(answer, { ...keyOf(offer), ...more });
        if (answer === 'job.lost') await pause(200);
      }
      const last = await context.offer(peer, 40_000).catch(() => undefined);
      if (!last) {
        const { status, text } = await called;
        return `attempts ${attempts.join(', ')}; then ${status} ${text.slice(0, 120)}`;
      }
      attempts.push(last.body.attempt);
      for (let n = 1; n < attempts.length; n++)
        expectThat(Number(attempts[n]) > Number(attempts[n - 1]), `attempts ${attempts.join(', ')}`);
      accept(peer, last);
      peer.send('job.result', agent.result(last));
      expectEqual((await called).status, 200, 'status for the caller');
      return `attempts ${attempts.join(', ')}`;
    },
  },
  {
    section: '5',
    title:
      'a caller who leaves gets the job cancelled with client_gone; a job with lines passed on is billed as accepted',
    run: async (context) => {
      const { agent } = context;
      const peer = await context.ready();
      const hangUp = new AbortController();
      const called = context.chat({ stream: true }, hangUp.signal);
      const offer = await context.offer(peer, 65_000);
      accept(peer, offer);
      const answer = fakeAnswer(offer.body);
      deltas(peer, offer, 0, answer.lines.slice(0, 2));
      await pause(300);
      hangUp.abort();
      await called.catch(() => {});
      const cancel = await peer.next('job.cancel', 5_000, ({ jobId }) => jobId === offer.body.jobId);
      expectEqual([cancel.body.jobId, cancel.body.reason], [offer.body.jobId, 'client_gone'], 'job.cancel');
      const result = agent.result(offer, answer);
      peer.send('job.result', result);
      agent.checkReceipt((await receiptOf(peer, offer)).body, result, 'accepted');
      return 'job.cancel client_gone; a result already signed is receipted as accepted';
    },
  },
  {
    section: '5',
    title: 'open offers never exceed slots + queue of the last heartbeat',
    run: async (context) => {
      const { agent } = context;
      agent.slots = 1;
      try {
        const peer = await context.ready();
        const calls = [context.chat(), context.chat()];
        const first = await context.offer(peer, 15_000);
        accept(peer, first);
        const early = await peer.maybe('job.offer', 700, ({ jobId }) => jobId !== first.body.jobId);
        expectThat(!early, 'a second offer came while the only slot was taken');
        peer.send('job.result', agent.result(first));
        const second = await context.offer(peer, 5_000);
        accept(peer, second);
        peer.send('job.result', agent.result(second));
        expectEqual(
          (await Promise.all(calls)).map(({ status }) => status),
          [200, 200],
          'status of both callers',
        );
        return 'one at a time';
      } finally {
        agent.slots = 2;
      }
    },
  },
  {
    section: '2',
    title: 'the OpenAI side: models, 401 bad_api_key, embeddings and completions',
    run: async (context) => {
      const { agent, target } = context;
      const keyless = await agent.client.get('/v1/models');
      expectEqual([keyless.status, object(keyless.body.error).code], [401, 'bad_api_key'], 'without a key');
      const models = await agent.client.get('/v1/models', { authorization: `Bearer ${target.apiKey}` });
      expectEqual(models.body.object, 'list', 'object of /v1/models');
      const kinds: string[] = [];
      for (const kind of ['embeddings', 'completions']) {
        if (!list(context.model().tasks).includes(kind)) continue;
        const peer = await context.ready(kind);
        const model = `${context.model(kind).name}:${context.model(kind).version}`;
        const called = context.ask(`/v1/${kind}`, {
          model,
          [kind === 'embeddings' ? 'input' : 'prompt']: context.mark,
        });
        const offer = await context.offer(peer, 15_000);
        expectEqual(offer.body.kind, kind, 'kind');
        accept(peer, offer);
        const result = agent.result(offer);
        peer.send('job.result', result);
        agent.checkReceipt((await receiptOf(peer, offer)).body, result, 'accepted');
        expectEqual((await called).text, result.output, `answer of ${kind}`);
        kinds.push(kind);
      }
      return `models listed; ${kinds.join(', ') || 'the model has no other task'}`;
    },
  },
  {
    section: '5',
    title: 'the minimal agent alone serves ten callers at once',
    run: async (context) => {
      const { agent } = context;
      const peer = await context.ready();
      agent.serve(peer, context.model(), context.heartbeatMs);
      const calls = await Promise.all(Array.from({ length: 10 }, (_, n) => context.chat({ stream: n % 2 === 0 })));
      expectEqual([...new Set(calls.map(({ status }) => status))], [200], 'statuses');
      const jobs = calls.map(({ headers }) => String(headers['resultity-job']));
      expectEqual(new Set(jobs).size, 10, 'distinct jobs');
      expectThat(FORMS.address.test(String(calls[0]?.headers['resultity-node'])), 'header resultity-node');
      expectClean(peer);
      return '10 answers, 10 jobs';
    },
  },
  {
    section: '5',
    title: 'an offer that is not accepted within 2 s is cancelled',
    run: async (context) => {
      const peer = await context.ready();
      const hangUp = new AbortController();
      const called = context.chat({}, hangUp.signal);
      const offer = await context.offer(peer, 35_000);
      const cancel = await peer.next('job.cancel', 5_000, (body) => body.jobId === offer.body.jobId);
      const ms = Math.round(cancel.at - (peer.frames.find((f) => f.payload === offer.payload)?.at ?? 0));
      expectThat(ms >= 1_500 && ms < 4_000, `after ${ms} ms`);
      peer.send('job.lost', { ...keyOf(offer), reason: 'cancelled' });
      hangUp.abort();
      await called.catch(() => {});
      return `after ${ms} ms, reason ${cancel.body.reason}`;
    },
  },
];
