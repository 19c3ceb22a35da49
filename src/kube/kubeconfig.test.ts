import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { loadConnection } from './kubeconfig.ts';

describe('loadConnection', () => {
  let folder = '';
  const clock = new FakeClock();
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kube-'));
  });
  afterEach(() => rm(folder, { recursive: true }));
  const put = (name: string, text: string): Promise<void> => writeFile(join(folder, name), text);

  it('uses the service account of the pod, and takes up a new token within a minute, or at once when refused', async () => {
    await put('token', 'one\n');
    await put('ca.crt', 'CA');
    await put('namespace', 'here');
    const env = { KUBERNETES_SERVICE_HOST: '10.0.0.1', KUBERNETES_SERVICE_PORT: '443' };
    const connection = await loadConnection({ env, clock, accountFolder: folder });
    const token = async (fresh = false): Promise<string | undefined> =>
      (await connection.authorization(fresh))?.reveal();
    expect([connection.server, connection.namespace, (await connection.tls()).ca]).to.deep.equal([
      'https://10.0.0.1:443',
      'here',
      'CA',
    ]);
    expect(await token()).to.equal('Bearer one');
    await put('token', 'two');
    expect(await token()).to.equal('Bearer one');
    expect(await token(true)).to.equal('Bearer two');
    await put('token', 'three');
    await clock.advance(61_000);
    expect(await token()).to.equal('Bearer three');
    await rm(join(folder, 'token'));
    expect(await token(true)).to.equal('Bearer three');
  });

  it('reads a kubeconfig: server, authority, client certificate, token, namespace, context', async () => {
    const pem = (text: string): string => Buffer.from(text).toString('base64');
    await put(
      'config',
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'Config',
        clusters: [
          { name: 'c', cluster: { server: 'https://example.com:6443/', 'certificate-authority-data': pem('CA') } },
        ],
        users: [
          { name: 'cert', user: { 'client-certificate-data': pem('CERT'), 'client-key-data': pem('KEY') } },
          { name: 'token', user: { token: 't' } },
        ],
        contexts: [
          { name: 'one', context: { cluster: 'c', user: 'cert', namespace: 'ns' } },
          { name: 'two', context: { cluster: 'c', user: 'token' } },
        ],
        'current-context': 'one',
      }),
    );
    const kubeconfig = join(folder, 'config');
    const one = await loadConnection({ env: {}, clock, kubeconfig });
    const tls = await one.tls();
    expect([one.server, one.namespace, tls.ca, tls.cert, tls.key?.reveal()]).to.deep.equal([
      'https://example.com:6443',
      'ns',
      'CA',
      'CERT',
      'KEY',
    ]);
    expect(await one.authorization(false)).to.equal(undefined);
    const two = await loadConnection({ env: { KUBECONFIG: kubeconfig }, clock, context: 'two' });
    expect([(await two.authorization(false))?.reveal(), two.namespace]).to.deep.equal(['Bearer t', 'default']);
  });

  it('says which file it cannot read', async () => {
    const error = await loadConnection({ env: {}, clock, kubeconfig: join(folder, 'none') }).catch((e) => e);
    expect(error).to.have.property('code', 'kube_config');
    expect(error.message).to.include('none');
  });
});
