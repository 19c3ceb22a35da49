import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Dispatcher } from 'undici';
import { networkDispatcher } from '../../src/agent/http.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { Secret } from '../../src/lib/secret.ts';
import { downloadModel, type ModelManifest, openShared } from '../../src/models/index.ts';
import { makeCertificates } from '../../src/network/commands/certificates.ts';
import { modelDigest } from '../../src/protocol/index.ts';
import { ConnectProxy } from '../support/connect-proxy.ts';

const weights = randomBytes(300_000);
const sha256 = createHash('sha256').update(weights).digest('hex');
const files = [{ path: 'model.safetensors', size: weights.length, sha256 }];
const listen = (server: Server): Promise<number> =>
  new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port)));

describe('a model source behind a private authority and a proxy', () => {
  let dir: string;
  let source: Server;
  let proxy: ConnectProxy;
  let ca: string;
  let model: ModelManifest;
  const asked: (string | undefined)[] = [];
  const dispatchers: Dispatcher[] = [];
  const fetchWith = async (options: Parameters<typeof networkDispatcher>[0]): Promise<string> => {
    const dispatcher = networkDispatcher(options);
    dispatchers.push(dispatcher);
    const { store, leases } = openShared(dir, {
      owner: 'me',
      boot: 'b',
      clock: systemClock,
      renewMs: 1_000,
      ttlMs: 5_000,
    });
    const lease = await leases.acquire(store.lockOf(model.digest), {});
    return downloadModel(model, {
      store,
      lease,
      dispatcher,
      policy: { trustedSources: ['localhost'], allowInsecureHosts: [], mirrors: [] },
      credentials: new Map([['localhost', new Secret('reader:secret')]]),
      reserveBytes: 0,
    }).finally(() => lease.release());
  };

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), 'sources-'));
    const made = await makeCertificates('test', ['localhost'], Date.now(), 1);
    ca = made.ca;
    source = createServer({ cert: made.cert, key: made.key }, (req, res) => {
      asked.push(req.headers.authorization);
      res.end(weights);
    });
    proxy = await new ConnectProxy().listen();
    const port = await listen(source);
    const sources = [`https://localhost:${port}/`];
    model = { name: 'm', version: 'v1', digest: modelDigest(files), files, sources, requires: { diskMiB: 0 } };
  });
  after(async () => {
    for (const dispatcher of dispatchers) await dispatcher.destroy();
    source.close();
    await proxy.close();
    rmSync(dir, { recursive: true, force: true });
  });

  it('is refused while its authority is not known, and gets no credential', async () => {
    const code = await fetchWith({ proxy: proxy.url() }).then(
      () => 'fetched',
      (error: { code: string }) => error.code,
    );
    expect(code).to.equal('source_failed');
    expect(asked).to.deep.equal([]);
  });

  it('is asked through the proxy, which sees where to and nothing else', async () => {
    const path = await fetchWith({ ca: [ca], proxy: proxy.url() });
    expect(readFileSync(join(path, 'model.safetensors')).equals(weights)).to.equal(true);
    expect(asked).to.deep.equal([`Basic ${Buffer.from('reader:secret').toString('base64')}`]);
    expect(proxy.tunnels.at(-1)?.to).to.equal(new URL(model.sources[0] as string).host);
    expect(JSON.stringify(proxy.tunnels)).to.not.contain('authorization');
  });
});
