import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildProgram } from '../../src/network/commands/index.ts';
import { type Domain, domainOf, type Sha256 } from '../../src/protocol/index.ts';
import { FakeNode } from './fake-node.ts';
import { SignerKit, testModel, testSigner } from './signer-kit.ts';
import { until } from './until.ts';

const ROOT = join(import.meta.dirname, '../..');
const PASSWORD = 'a password for tests';

export interface ServiceProcessOptions {
  /** With the certificate that init made; else plain HTTP. */
  readonly tls?: boolean;
  readonly limits?: Record<string, number>;
  readonly models?: readonly Record<string, unknown>[];
}

/**
 * A private network as its operator makes it, by the commands: init, serve as a process of its own, publish. For tests that
 * stop, kill and start the service.
 */
export class ServiceProcess {
  readonly dir: string;
  readonly port: number;
  readonly domain: Domain = domainOf('demo', 31337);
  readonly #options: ServiceProcessOptions;
  readonly #models: readonly Record<string, unknown>[];
  #child: ChildProcess | undefined;

  private constructor(dir: string, port: number, options: ServiceProcessOptions) {
    this.dir = dir;
    this.port = port;
    this.#options = options;
    this.#models = options.models ?? [testModel()];
  }

  /** Resolves when the configuration is published. */
  static async start(options: ServiceProcessOptions = {}): Promise<ServiceProcess> {
    const site = new ServiceProcess(await mkdtemp(join(tmpdir(), 'resultity-site-')), await freePort(), options);
    writeFileSync(site.path('password'), `${PASSWORD}\n`);
    writeFileSync(site.path('limits.json'), JSON.stringify(options.limits ?? {}));
    await site.run(
      ...['init', '--dir', site.path('net'), '--network', 'demo', '--chain-id', '31337', '--san', '127.0.0.1'],
      ...['--endpoint', `https://localhost:${site.port}`, '--password-file', site.path('password')],
      '--weak-scrypt-for-tests',
    );
    await site.serve();
    await site.publish();
    return site;
  }

  path(name: string): string {
    return join(this.dir, name);
  }
  get authority(): string {
    return `localhost:${this.port}`;
  }
  get url(): string {
    return `${this.#options.tls ? 'https' : 'http'}://${this.authority}`;
  }
  get apiKey(): string {
    return readFileSync(this.path('net/api-key'), 'utf8').trim();
  }
  get log(): string {
    return readFileSync(this.path('service.log'), 'utf8');
  }
  get models(): { ref: string; digest: Sha256 }[] {
    return this.#models.map((m) => ({ ref: `${m.name}:${m.version}`, digest: m.digest as Sha256 }));
  }

  /** Runs one command of `resultity-network` in this process; its output. */
  async run(...args: string[]): Promise<string> {
    const out: string[] = [];
    const io = {
      out: (line: string) => void out.push(line),
      err: (line: string) => void out.push(line),
      now: () => Date.now(),
      signal: new AbortController().signal,
    };
    await buildProgram(io, '1').exitOverride().parseAsync(args, { from: 'user' });
    return out.join('\n');
  }
  /** Starts the service; resolves when it answers. */
  async serve(): Promise<void> {
    const argv = ['src/network/main.ts', 'serve', '--data', this.path('data'), '--root', this.path('net/roots/1.json')];
    argv.push('--key', this.path('net/keys/ticket.key'), '--listen', `127.0.0.1:${this.port}`);
    argv.push('--authority', this.authority, '--api-keys', this.path('net/api-keys.json'));
    argv.push('--limits', this.path('limits.json'), '--log-level', 'info');
    if (this.#options.tls)
      argv.push('--tls-cert', this.path('net/tls/tls.crt'), '--tls-key', this.path('net/tls/tls.key'));
    const log = openSync(this.path('service.log'), 'a');
    const child = spawn(process.execPath, argv, { cwd: ROOT, stdio: ['ignore', log, log] });
    closeSync(log);
    const kill = (): void => void child.kill('SIGKILL');
    process.once('exit', kill);
    child.once('exit', () => process.removeListener('exit', kill));
    this.#child = child;
    const before = this.log.length;
    await until('the service listens', () => this.log.slice(before).includes('"listening"') || !this.running, 60_000);
    if (!this.running) throw new Error(`the service ended: ${this.log.slice(before)}`);
  }
  async publish(): Promise<void> {
    const document = new SignerKit({ network: 'demo' }).document({ models: this.#models });
    for (const filledIn of ['network', 'environment', 'epoch', 'version']) delete document[filledIn];
    writeFileSync(this.path('snapshot.json'), JSON.stringify(document));
    await this.run(
      ...['publish', '--dir', this.path('net'), '--snapshot', this.path('snapshot.json'), '--to', this.url],
      ...['--ca', this.path('net/tls/ca.crt'), '--password-file', this.path('password')],
    );
  }

  /** Memory of the process. Linux only. */
  get rssMiB(): number {
    const status = readFileSync(`/proc/${this.#child?.pid}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1_024;
  }
  get running(): boolean {
    return this.#child?.exitCode === null && this.#child.signalCode === null;
  }
  /** Resolves when the process is gone. */
  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const child = this.#child;
    if (!child || !this.running) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await gone;
  }
  node(name: string): FakeNode {
    const root = JSON.parse(readFileSync(this.path('net/roots/1.json'), 'utf8')) as { document: string };
    const network = JSON.parse(root.document).roles.ticket.keys[0];
    return new FakeNode({ url: this.url, domain: this.domain, signer: testSigner(name), network });
  }
  async close(): Promise<void> {
    await this.end('SIGKILL');
    await rm(this.dir, { recursive: true, force: true });
  }
}

const freePort = async (): Promise<number> => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return port;
};
