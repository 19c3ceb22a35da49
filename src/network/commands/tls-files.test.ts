import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { expect } from 'chai';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { ServiceRig } from '../../../test/support/service-rig.ts';
import { until } from '../../../test/support/until.ts';
import { createLogger } from '../../lib/log.ts';
import { type Certificates, makeCertificates } from './certificates.ts';
import { followTls, readTls, TLS_CHECK_MS } from './tls-files.ts';

describe('the service’s certificate', () => {
  let dir: string;
  let rig: ServiceRig | undefined;
  const stop = new AbortController();
  const clock = new FakeClock();
  const log = createLogger('test', 'silent');
  let first: Certificates;
  let second: Certificates;
  const write = (cert: string, key: string): void => {
    writeFileSync(join(dir, 'tls.crt'), cert);
    writeFileSync(join(dir, 'tls.key'), key);
  };
  const read = () => readTls(join(dir, 'tls.crt'), join(dir, 'tls.key'));
  /** Whether a peer that trusts only this CA gets through to the port. */
  const trusts = (ca: string): Promise<boolean> =>
    new Promise((resolve) => {
      const socket = connect({ host: '127.0.0.1', port: rig?.service.port ?? 0, ca }, () => {
        socket.destroy();
        resolve(true);
      });
      socket.on('error', () => resolve(false));
    });

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), 'resultity-tls-'));
    first = await makeCertificates('net', ['127.0.0.1'], Date.now(), 1);
    second = await makeCertificates('net', ['127.0.0.1'], Date.now(), 1);
  });
  after(async () => {
    stop.abort();
    await rig?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  it('is taken anew from its files while it serves; a pair that does not fit changes nothing', async () => {
    write(first.cert, first.key);
    const tls = read();
    rig = await ServiceRig.start({ tls });
    const { service } = rig;
    const following = followTls(tls, read, (files) => service.renewTls(files), { clock, log, signal: stop.signal });
    expect([await trusts(first.ca), await trusts(second.ca)]).to.deep.equal([true, false]);

    write(second.cert, first.key);
    await clock.advance(TLS_CHECK_MS);
    expect([await trusts(first.ca), await trusts(second.ca)]).to.deep.equal([true, false]);

    write(second.cert, second.key);
    await clock.advance(TLS_CHECK_MS);
    await until('the new one is shown', () => trusts(second.ca));
    expect(await trusts(first.ca)).to.equal(false);
    stop.abort();
    await following;
  });
  it('is refused at the start when the key is another’s', () => {
    write(second.cert, first.key);
    expect(() => read()).to.throw();
  });
});
