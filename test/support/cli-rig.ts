/** The plugin against an API double, as a person would call it: a kubeconfig, words on a command line, lines that come back. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildProgram, type Io, runCommand } from '../../src/cli/index.ts';
import { KubeClient, type KubeObject, type ResourceType } from '../../src/kube/index.ts';
import { ApiDouble } from './api-double.ts';

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export class CliRig {
  readonly api: ApiDouble;
  readonly client: KubeClient;
  readonly dir: string;
  /** Fast enough for tests, and yet one look after the other. */
  readonly io: Partial<Io> = { pollMs: 5 };

  constructor(api: ApiDouble, dir: string) {
    this.api = api;
    this.dir = dir;
    this.client = new KubeClient({ connection: api.connection, fieldManager: 'test' });
  }

  static async start(): Promise<CliRig> {
    const rig = new CliRig(await ApiDouble.start(), await mkdtemp(join(tmpdir(), 'resultity-plugin-')));
    await writeFile(join(rig.dir, 'kubeconfig'), kubeconfig(rig.api.url));
    return rig;
  }
  async stop(): Promise<void> {
    await this.client.close();
    await this.api.stop();
    await rm(this.dir, { recursive: true, force: true });
  }

  /** Runs one command line to its end. */
  async run(...args: string[]): Promise<Ran> {
    const out: string[] = [];
    const err: string[] = [];
    const io: Io = {
      out: (line) => out.push(line),
      err: (line) => err.push(line),
      stdin: async () => '',
      color: false,
      now: () => Date.parse('2026-11-21T10:00:00Z'),
      env: { KUBECONFIG: join(this.dir, 'kubeconfig') },
      ...this.io,
    };
    const code = await runCommand(buildProgram(io, '0.0.0'), args, io);
    return { code, out: out.join('\n'), err: err.join('\n') };
  }

  /** Creates an object together with its status. */
  async seed<T extends KubeObject>(type: ResourceType<T>, object: T): Promise<T> {
    const { status } = object as { status?: unknown };
    const made = await this.client.create(type, object);
    if (status === undefined) return made;
    const { name = '', namespace } = object.metadata ?? {};
    return this.client.patchMerge(type, { name, namespace }, { status }, { subresource: 'status' });
  }
}

const kubeconfig = (server: string): string =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'c', cluster: { server, 'insecure-skip-tls-verify': true } }],
    users: [{ name: 'u', user: { token: 'MARK-kubeconfig-token' } }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u', namespace: 'nodes' } }],
    'current-context': 'x',
  });
