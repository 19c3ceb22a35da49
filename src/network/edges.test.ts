import { createHash } from 'node:crypto';
import { expect } from 'chai';
import { ServiceRig } from '../../test/support/service-rig.ts';
import { testSigner } from '../../test/support/signer-kit.ts';
import { until } from '../../test/support/until.ts';
import { createLogger } from '../lib/log.ts';
import { CLOSE, newNonce, signStruct } from '../protocol/index.ts';

describe('the network service at its edges', () => {
  let rig: ServiceRig;
  before(async () => {
    rig = await ServiceRig.start({}, { callsPerNode: 40 });
  });
  after(() => rig.stop());
  const code = (answer: { status: number; json: { error?: { code: string } } }) =>
    `${answer.status} ${answer.json.error?.code ?? 'ok'}`;

  it('says that nothing is published, and registers nodes with config null', async () => {
    const answer = await fetch(`${rig.url}/v1/config`);
    expect(answer.status).to.equal(503);
    expect(((await answer.json()) as { error: object }).error).to.deep.include({
      code: 'unavailable',
      message: 'nothing published yet',
      retryable: true,
    });
    expect((await rig.node('early').register()).json.config).to.equal(null);
    await rig.publish();
  });

  describe('signed calls', () => {
    it('refuses form, foreign host, altered body and replay, each with its code', async () => {
      const node = rig.node('calls');
      expect(code(await node.call('POST', '/v1/register', {}, { header: '{}' }))).to.equal('401 bad_signature');
      expect(code(await node.call('POST', '/v1/register', {}, { authority: 'other.example' }))).to.equal(
        '401 bad_signature',
      );
      const nonce = newNonce();
      await node.register();
      const beat = node.heartbeat(rig.model.ref, rig.model.digest, rig.config);
      expect(code(await node.call('POST', '/v1/heartbeat', beat, { nonce }))).to.equal('200 ok');
      expect(code(await node.call('POST', '/v1/heartbeat', beat, { nonce }))).to.equal('401 replayed');
      expect(code(await node.call('POST', '/v1/heartbeat', { bootId: 1 }))).to.equal('400 bad_request');
    });
    it('lets a wrong clock in by the server’s nonce, once', async () => {
      const node = rig.node('clock');
      const past = { ts: Date.now() - 3_600_000 };
      const body = {
        node: node.node,
        owner: { email: 'a@b.cd' },
        metadata: { agent: '1', runtime: '1', hardware: {}, labels: {} },
      };
      const refused = await node.call('POST', '/v1/register', body, past);
      expect(code(refused)).to.equal('401 bad_clock');
      expect(refused.json.error.serverTime).to.be.closeTo(Date.now(), 60_000);
      const nonce = refused.json.error.serverNonce;
      const thief = rig.node('thief');
      expect(code(await thief.call('POST', '/v1/register', body, { ...past, nonce }))).to.equal('401 bad_clock');
      expect(code(await node.call('POST', '/v1/register', body, { ...past, nonce }))).to.equal('200 ok');
      expect(code(await node.call('POST', '/v1/register', body, { ...past, nonce }))).to.equal('401 replayed');
    });
    it('asks an unknown node to register, after its signature and before its body', async () => {
      expect(code(await rig.node('unknown').call('POST', '/v1/heartbeat', 'x'))).to.equal('403 not_registered');
    });
    it('limits how often a node calls', async () => {
      const node = rig.node('eager');
      let last = await node.register();
      for (let i = 0; i < 45 && last.status === 200; i++) last = await node.register();
      expect(code(last)).to.equal('429 rate');
      expect(last.json.error.retryAfterMs).to.be.above(0);
    });
    it('takes an execution record that joins, and says where it left off for one that does not', async () => {
      const node = rig.node('record');
      await node.register();
      const lines: string[] = [];
      let prevHash = `sha256:${'0'.repeat(64)}`;
      for (let n = 1; n <= 3; n++) {
        lines.push(JSON.stringify({ n, prevHash, at: 1, kind: 'job', data: {} }));
        prevHash = `sha256:${createHash('sha256')
          .update(lines[n - 1]!)
          .digest('hex')}`;
      }
      const logs = (text: string) => node.call('POST', '/v1/logs', text);
      // call() sends JSON; a record is NDJSON, so the body is given as it stands
      const raw = async (text: string) => {
        const { signCall } = await import('../protocol/index.ts');
        const call = { method: 'POST', authority: rig.authority, path: '/v1/logs', body: text };
        const header = signCall(rig.kit.domain, node.options.signer, call, Date.now());
        const answer = await fetch(`${rig.url}/v1/logs`, {
          method: 'POST',
          body: text,
          headers: { 'resultity-auth': header },
        });
        return (await answer.json()) as { lastN?: number; error?: { code: string; lastN: number } };
      };
      expect(await raw(`${lines.slice(0, 2).join('\n')}\n`)).to.deep.equal({ lastN: 2 });
      expect(await raw(lines.join('\n'))).to.deep.equal({ lastN: 3 });
      const gap = await raw(JSON.stringify({ n: 5, prevHash, at: 1, kind: 'job', data: {} }));
      expect(gap.error).to.deep.include({ code: 'log_gap', lastN: 3 });
      // an agent that lost its state begins again: what is held stays, and the agent is told how far that goes
      const again = await raw(
        JSON.stringify({ n: 1, prevHash: JSON.parse(lines[0]!).prevHash, at: 2, kind: 'x', data: {} }),
      );
      expect(again.error).to.deep.include({ code: 'log_gap', lastN: 3 });
      expect(await raw(lines.join('\n'))).to.deep.equal({ lastN: 3 });
      expect(code(await logs('no record'))).to.equal('400 bad_request');
    });
  });

  describe('sockets', () => {
    const connected = async (name: string) => {
      const node = rig.node(name);
      await node.register();
      await node.connect();
      return node;
    };
    it('closes 4403 for a node that is not registered and 4401 for another audience', async () => {
      const stranger = rig.node('stranger');
      await stranger.connect();
      expect(await stranger.gone()).to.equal(CLOSE.forbidden);
      const lost = rig.node('lost');
      await lost.register();
      await lost.connect({ audience: 'elsewhere.example' });
      expect(await lost.gone()).to.equal(CLOSE.auth);
    });
    it('closes 4010 on a gap, 4401 on a foreign signature, 4400 on bad form or a second hello', async () => {
      const cases: [string, (n: Awaited<ReturnType<typeof connected>>) => void, number][] = [
        ['gap', (n) => n.sendRaw('{"v":1,"t":"x-a","seq":9,"ts":1,"sig":"0x"}\n'), CLOSE.sequence],
        ['forged', (n) => n.sendRaw('{"v":1,"t":"x-a","seq":2,"ts":1,"sig":"0x"}\n'), CLOSE.auth],
        ['form', (n) => n.sendRaw('no frame'), CLOSE.badFrame],
        ['schema', (n) => n.send('job.accept', { jobId: 1 }), CLOSE.badFrame],
        ['again', (n) => n.send('hello', {}), CLOSE.badFrame],
        ['reflected', (n) => n.send('job.offer', {}), CLOSE.badFrame],
      ];
      for (const [name, act, expected] of cases) {
        const node = await connected(name);
        act(node);
        expect(await node.gone(), name).to.equal(expected);
      }
    });
    it('logs refused frames, but no more than some a minute: whoever connects cannot fill the log', async () => {
      const lines: string[] = [];
      const log = createLogger('test', 'info', { write: (line) => void lines.push(line) });
      const other = await ServiceRig.start({ log });
      try {
        for (let i = 0; i < 70; i++) {
          const stranger = other.node('stranger');
          await stranger.connect();
          expect(await stranger.gone()).to.equal(CLOSE.forbidden);
        }
        const told = lines.filter((l) => l.includes('frame refused')).length;
        expect(told).to.be.within(60, 65);
      } finally {
        await other.stop();
      }
    });
    it('closes 4413 on a heartbeat above 8 KiB, and answers one over HTTP 413', async () => {
      const node = await connected('talkative');
      const large = (n: number) =>
        node.heartbeat(rig.model.ref, rig.model.digest, rig.config, {
          models: Array.from({ length: n }, (_, i) => ({
            ...{ model: `m${i}:v1`, digest: rig.model.digest, state: 'inactive', loaded: false },
          })) as never,
        });
      node.send('heartbeat', large(100));
      expect(await node.gone()).to.equal(CLOSE.tooLarge);
      const jobs = Array.from({ length: 200 }, (_, i) => ({ jobId: `job-${i}-${'x'.repeat(40)}`, attempt: 1 }));
      expect((await node.call('POST', '/v1/heartbeat', { ...large(100), jobs: [] })).status).to.equal(413);
      // the jobs that are named beside it do not count
      expect((await node.call('POST', '/v1/heartbeat', { ...large(10), jobs })).status).to.equal(200);
    });
    it('answers an unknown type once, ignores x- ones, and goes on', async () => {
      const node = await connected('curious');
      node.send('x-else', {});
      node.send('new.thing', {});
      node.send('new.thing', {});
      expect(JSON.parse(await node.next('error')).code).to.equal('unknown_type');
      rig.beat(node);
      await until('active', () => rig.service.registry.state(node.node) === 'active');
      expect(node.frames.filter((f) => f.t === 'error')).to.deep.equal([]);
      node.close();
    });
    it('closes 4401 on a result that is not signed by the node, without a receipt', async () => {
      const node = await rig.activeNode('forger');
      const asked = rig.post(
        '/v1/chat/completions',
        { model: rig.model.ref, messages: [{ role: 'user', content: 'hi' }] },
        { authorization: 'Bearer sk-test-1234567890' },
      );
      const { offer, payload } = await node.offer();
      node.accept(offer);
      const message = node.result(offer, payload, '{}');
      const sig = signStruct(testSigner('else'), rig.kit.domain, 'JobResult', message.result);
      node.send('job.result', { ...message, sig });
      expect(await node.gone()).to.equal(CLOSE.auth);
      expect(node.frames.filter((f) => f.t === 'job.receipt')).to.deep.equal([]);
      await node.connect({ jobs: [{ jobId: offer.jobId, attempt: 1, state: 'result', deltas: 0 }] });
      node.send('job.result', message);
      expect((await node.receipt()).receipt.verdict).to.equal('accepted');
      expect((await asked).status).to.equal(200);
    });
    it('drains and resumes a node by order, and closes one that is revoked', async () => {
      const node = await rig.activeNode('ordered');
      const order = (path: string, body: object) =>
        rig.post(`/v1/admin/nodes/${node.node}/${path}`, body, { authorization: 'Bearer sk-test-1234567890' });
      expect(await (await order('control', { action: 'drain' })).json()).to.deep.include({
        state: 'draining',
        sent: true,
      });
      expect(JSON.parse(await node.next('control')).action).to.equal('drain');
      await order('control', { action: 'resume' });
      expect(rig.service.registry.state(node.node)).to.equal('active');
      await order('revoke', {});
      expect(await node.gone()).to.equal(CLOSE.forbidden);
      expect((await node.register()).status).to.equal(403);
    });
    it('raises DuplicateIdentity after three supersedes by different processes', async () => {
      const a = await connected('twin');
      for (const bootId of ['b2', 'b3', 'b4']) {
        const b = rig.node('twin');
        b.bootId = bootId;
        await b.connect();
      }
      const status = (await (await fetch(`${rig.url}/v1/status/nodes/${a.node}`)).json()) as { reasons: string[] };
      expect(status.reasons).to.include('DuplicateIdentity');
    });
  });
});
