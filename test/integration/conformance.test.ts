import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { AgentRig } from '../support/agent-rig.ts';
import { ServiceProcess } from '../support/service-process.ts';
import { until } from '../support/until.ts';

interface Report {
  readonly summary: string;
  readonly cases: readonly { section: string; title: string; outcome: string; seen: string }[];
}

/** `npm run conformance -- …` as another implementer runs it. */
class Command {
  readonly #child: ChildProcess;
  readonly #ended: Promise<number | null>;
  out = '';
  err = '';
  constructor(...args: string[]) {
    this.#child = spawn(process.execPath, ['hack/conformance/main.ts', ...args], {
      cwd: join(import.meta.dirname, '../..'),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.out += text;
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.err += text;
    });
    this.#ended = new Promise((resolve) => this.#child.once('close', resolve));
  }
  async exit(): Promise<number | null> {
    return this.#ended;
  }
  kill(): void {
    this.#child.kill('SIGKILL');
  }
}

describe('conformance of this implementation, by the command and the suites written from docs/protocol.md alone', function () {
  this.timeout(240_000);
  let site: ServiceProcess | undefined;
  let rig: AgentRig | undefined;
  let network: Command;
  let agent: Command;

  // both at once: most of their time is spent waiting for what the protocol gives seconds for
  before(async () => {
    agent = new Command('--agent', '--json', '--wait', '60');
    const printed = () => /endpoint +(\S+)[\s\S]+root +(\S+)[\s\S]+model/.exec(agent.err);
    site = await ServiceProcess.start({ tls: true, limits: { callsPerNode: 10_000, callsPerAddress: 10_000 } });
    network = new Command(
      ...['--network', site.url, '--root', site.path('net/roots/1.json'), '--ca', site.path('net/tls/ca.crt')],
      ...['--api-key', site.apiKey],
    );
    await until('the minimal network says where it is', () => printed() !== null, 60_000);
    const [, endpoint = '', root = ''] = printed() ?? [];
    // small dice: no case is about how long the back-off is, and each would wait for it
    const random = (): number => 0.05;
    rig = new AgentRig({ endpoint, network: 'conformance', pinnedRoot: readFileSync(root, 'utf8'), random });
    await rig.startAgent();
    rig.startLauncher();
  });
  after(async () => {
    network?.kill();
    agent?.kill();
    await rig?.close();
    await site?.close();
  });

  it('the network service, started and published as its operator does and over TLS, passes the cases of a network', async () => {
    const code = await network.exit();
    expect(network.out.split('\n').filter((line) => line.startsWith('FAIL'))).to.deep.equal([]);
    expect(network.out).to.match(/^pass {2}§2 {2}GET \/v1\/ping answers/);
    expect(network.out).to.match(/\n\d+ passed, 0 failed, 0 skipped\n$/);
    expect(code).to.equal(0);
  });

  it('the agent, with the real launcher, passes the cases of an agent', async () => {
    const code = await agent.exit();
    const report = JSON.parse(agent.out) as Report;
    expect(report.cases.filter((c) => c.outcome === 'fail')).to.deep.equal([]);
    expect(report.summary).to.match(/^2\d passed, 0 failed, [01] skipped$/);
    expect(code).to.equal(0);
  });

  it('says how it is used when it is used wrongly, and exits 2', async () => {
    const both = new Command('--agent', '--network', 'https://io.example.com');
    expect(await both.exit()).to.equal(2);
    expect(both.err).to.contain('give either --network URL or --agent').and.to.contain('usage: npm run conformance');
  });
});
