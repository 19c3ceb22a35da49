/** The operator as a process: it says in one line why it does not start, and starts, leads and stops in order. */
import { spawn } from 'node:child_process';
import { expect } from 'chai';
import { type ApiServer, startApiServer } from '../support/api-server.ts';
import { installCrds } from '../support/crds.ts';
import { until } from '../support/until.ts';

interface Run {
  /** Standard output and error so far. */
  readonly out: () => string;
  readonly exit: Promise<number | null>;
  readonly stop: () => void;
}

const run = (args: readonly string[]): Run => {
  const child = spawn(process.execPath, ['operator/main.ts', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (part: Buffer) => {
      out += part.toString();
    });
  return {
    out: () => out,
    exit: new Promise((resolve) => child.once('exit', (code) => resolve(code))),
    stop: () => child.kill('SIGTERM'),
  };
};

describe('the operator process', function () {
  this.timeout(60_000);
  let api: ApiServer;
  before(async () => {
    api = await startApiServer();
  });
  after(() => api?.stop());

  it('ends with 2 and the known flags at wrong usage', async () => {
    const wrong = run(['--nope']);
    expect(await wrong.exit).to.equal(2);
    expect(wrong.out()).to.contain('--watch-namespace');
  });

  it('refuses to start without its CRDs, with one clear line', async () => {
    const operator = run([`--kubeconfig=${api.kubeconfig}`, '--metrics-port=0', '--leader-election=false']);
    expect(await operator.exit).to.equal(1);
    expect(operator.out().trim().split('\n').at(-1)).to.match(
      /^resultity-operator: the CRD resultitynodes.resultity.com is missing: install/,
    );
  });

  it('leads and stops in order', async () => {
    await installCrds(api);
    const operator = run([`--kubeconfig=${api.kubeconfig}`, '--metrics-port=0', '--leader-election-namespace=default']);
    await until('leading', () => operator.out().includes('"leading"'), 20_000);
    const lease = await api.call('GET', '/apis/coordination.k8s.io/v1/namespaces/default/leases/resultity-operator');
    expect(lease.body.spec.holderIdentity).to.not.equal('');
    operator.stop();
    expect(await operator.exit, operator.out()).to.equal(0);
    const released = await api.call('GET', '/apis/coordination.k8s.io/v1/namespaces/default/leases/resultity-operator');
    expect(released.body.spec.holderIdentity ?? '').to.equal('');
  });
});
