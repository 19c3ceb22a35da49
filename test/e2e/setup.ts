/**
 * One real cluster for all end-to-end tests: installed as the demo installs it, with the stand-in unless
 * `npm run test:e2e -- --runtime vllm` asks for the real engine. Taken down after the last test.
 */
import { after, before } from 'mocha';
import { NODE_NAMESPACE } from '../../hack/demo/names.ts';
import type { Runtime } from '../../hack/demo/publish.ts';
import { applyManifests, type Installed, install } from '../../hack/demo/run.ts';
import { markKept, ownCluster, type Target } from '../../hack/demo/target.ts';
import { waitForNode } from '../../hack/demo/wait.ts';
import { terminalProgress } from '../../hack/lib/index.ts';

export const RUNTIME = (process.env.RESULTITY_RUNTIME ?? 'sim') as Runtime;
/** How long the engine's start may take. */
export const ENGINE_MS = RUNTIME === 'vllm' ? 900_000 : 180_000;
export const NS = NODE_NAMESPACE;

// biome-ignore lint/suspicious/noExplicitAny: objects of the API are read field by field in assertions
type Json = any;

export interface E2e {
  readonly target: Target;
  readonly installed: Installed;
  /** kubectl in the nodes' namespace. */
  k(...args: string[]): Promise<string>;
  get(kind: string, name: string): Promise<Json>;
  apply(manifest: object): Promise<string>;
  condition(kind: string, name: string, type: string): Promise<{ status: string; reason: string; message: string }>;
  /** Runs a script with the Node of the agent container, or the Python of the runtime. */
  inPod(container: 'agent' | 'runtime', script: string): Promise<string>;
}

let shared: E2e | undefined;
let up: Target | undefined;
export const e2e = (): E2e => {
  if (!shared) throw new Error('the cluster is not up');
  return shared;
};

before(async function () {
  this.timeout(1_800_000);
  const progress = terminalProgress();
  const target = await ownCluster(progress, 'e2e', RUNTIME === 'sim' ? { gpus: 4, realNodes: 2 } : { gpus: 1 });
  up = target;
  // the second machine is for those tests that ask for it: operator and network service stay on the first
  if (target.cluster?.peer) await target.kubectl(['cordon', target.cluster.peer.nodeName]);
  const k = (...args: string[]): Promise<string> => target.kubectl(['-n', NS, ...args]);
  const get = async (kind: string, name: string): Promise<Json> => JSON.parse(await k('get', kind, name, '-o', 'json'));
  try {
    const installed = await install(target, RUNTIME, progress);
    shared = {
      target,
      installed,
      k,
      get,
      apply: (manifest) => target.kubectl(['-n', NS, 'apply', '-f', '-'], JSON.stringify(manifest)),
      condition: async (kind, name, type) => {
        const object = await get(kind, name);
        return (
          object.status?.conditions?.find((c: { type: string }) => c.type === type) ?? {
            status: 'Missing',
            reason: '',
            message: '',
          }
        );
      },
      inPod: (container, script) =>
        container === 'agent'
          ? k('exec', 'demo-0', '-c', 'agent', '--', '/usr/local/bin/node', '-e', script)
          : k('exec', 'demo-0', '-c', 'runtime', '--', 'python3', '-c', script),
    };
    await applyManifests(target);
    await waitForNode(target, NS, 'demo-0', ENGINE_MS, progress);
  } catch (error) {
    process.stderr.write(`${await k('get', 'rnet,amodel,rnode,pod,events', '-o', 'wide').catch(String)}\n`);
    process.stderr.write(
      `${await k('logs', '-l', 'resultity.com/node=demo-0', '--all-containers', '--tail=60').catch(String)}\n`,
    );
    throw error;
  }
});

after(async function () {
  this.timeout(300_000);
  if (process.env.RESULTITY_KEEP) markKept('e2e');
  else await up?.down();
});

/** Asks again every half second until the check returns something; fails with what was last seen. */
export const eventually = async <T>(
  what: string,
  check: () => Promise<T | undefined | false>,
  timeoutMs = 120_000,
  seen: () => Promise<string> = () => Promise.resolve(''),
): Promise<T> => {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const value = await check().catch(() => undefined);
    if (value !== undefined && value !== false) return value;
    if (performance.now() > deadline) throw new Error(`${what}: not within ${timeoutMs / 1000} s. ${await seen()}`);
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
};
