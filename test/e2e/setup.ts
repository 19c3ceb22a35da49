/**
 * One real cluster for all end-to-end tests: installed as the demo installs it, with the stand-in unless
 * `npm run test:e2e -- --runtime vllm` asks for the real engine, or `mixed` for one real engine among stand-ins. Taken down after the last test.
 */
import { after, afterEach, before } from 'mocha';
import { NODE_NAMESPACE, SYSTEM_NAMESPACE } from '../../hack/demo/names.ts';
import { firstModel, publish, type Runtime } from '../../hack/demo/publish.ts';
import { applyManifests, type Installed, install } from '../../hack/demo/run.ts';
import { markKept, ownCluster, type Target } from '../../hack/demo/target.ts';
import { waitForNode } from '../../hack/demo/wait.ts';
import { buildSimImage } from '../../hack/images/index.ts';
import { execOk, repoRoot, terminalProgress } from '../../hack/lib/index.ts';

const asked = process.env.RESULTITY_RUNTIME ?? 'sim';
/** One real engine (demo-0), and stand-ins for all nodes that ask for a GPU of nvidia. */
export const MIXED = asked === 'mixed';
export const RUNTIME: Runtime = asked === 'sim' ? 'sim' : 'vllm';
/** How long the engine's start may take. */
export const ENGINE_MS = RUNTIME === 'vllm' ? 900_000 : 180_000;
export const NS = NODE_NAMESPACE;

const EVENT_COLUMNS =
  'custom-columns=AT:.metadata.creationTimestamp,OF:.involvedObject.name,REASON:.reason,SAYS:.message';

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
  const target = await ownCluster(
    progress,
    'e2e',
    RUNTIME === 'sim' || MIXED ? { gpus: 4, realNodes: 2, devicePlugin: RUNTIME === 'sim' } : { gpus: 1 },
  );
  up = target;
  // the second machine is for those tests that ask for it: operator and network service stay on the first
  if (target.cluster?.peer) await target.kubectl(['cordon', target.cluster.peer.nodeName]);
  const k = (...args: string[]): Promise<string> => target.kubectl(['-n', NS, ...args]);
  const get = async (kind: string, name: string): Promise<Json> => JSON.parse(await k('get', kind, name, '-o', 'json'));
  try {
    let installed = await install(target, RUNTIME, progress);
    if (MIXED) {
      const say = { name: 'answers', env: { RESULTITY_SIM_SAY: installed.expect } };
      const standin = await buildSimImage({ registry: target.registry, variant: say });
      installed = { ...installed, images: { ...installed.images, standin } };
      await publish(installed, [firstModel(RUNTIME)]);
    }
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

/** What tells why a test failed, while it still stands: its state, its story, and what operator and agents wrote last. */
afterEach(async function () {
  if (this.currentTest?.state !== 'failed' || !shared) return;
  this.timeout(60_000);
  const looks = [
    ['-n', NS, 'get', 'rnet,amodel,rfleet,rnode,pod', '-o', 'wide'],
    [...['-n', NS, 'get', 'events', '--sort-by=.metadata.creationTimestamp'], '-o', EVENT_COLUMNS],
    [...['-n', NS, 'get', 'pods', '-o'], 'jsonpath={range .items[*]}{.metadata.name} {.status}{"\\n"}{end}'],
    [...['-n', SYSTEM_NAMESPACE, 'logs', '-l', 'app.kubernetes.io/component=operator'], '--tail=80', '--prefix'],
    [...['-n', NS, 'logs', '-l', 'resultity.com/role=node', '-c', 'agent'], '--tail=60', '--prefix'],
  ];
  for (const args of looks)
    process.stderr.write(`--- kubectl ${args.join(' ')}\n${await shared.target.kubectl(args).catch(String)}\n`);
});

after(async function () {
  this.timeout(300_000);
  if (process.env.RESULTITY_KEEP) markKept('e2e');
  else await up?.down();
});

/** What `kubectl resultity why-not NODE` prints. */
export const whyNot = (node: string, ...flags: string[]): Promise<string> =>
  execOk(
    [
      ...[process.execPath, 'src/cli/main.ts', 'why-not', node, '-n', NS],
      ...['--kubeconfig', e2e().target.cluster?.kubeconfig ?? '', ...flags],
    ],
    { cwd: repoRoot },
  );

/** The nodes of a fleet that exist. */
export const fleetNodes = async (fleet: string): Promise<Json[]> =>
  JSON.parse(await e2e().k('get', 'rnode', '-l', `resultity.com/fleet=${fleet}`, '-o', 'json')).items;
export const conditionOf = ({ status }: Json, type: string): Json =>
  status?.conditions?.find((c: Json) => c.type === type);
/** For a failure's message. */
export const overview = (): Promise<string> => e2e().k('get', 'rfleet,rnode,pod', '-o', 'wide');

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
