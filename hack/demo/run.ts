import { chownSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { IDS } from '../../src/api/index.ts';
import {
  buildModelsImage,
  buildResultityImage,
  buildSimImage,
  buildVllmCpuImage,
  type PushedImage,
} from '../images/index.ts';
import { formatElapsed, type Progress, repoRoot } from '../lib/index.ts';
import { type Answer, NetworkApi } from './ask.ts';
import { NETWORK_HOST, NETWORK_PORT, NODE_NAMESPACE, SYSTEM_NAMESPACE } from './names.ts';
import { cli, firstModel, publish, type Runtime, serveModel } from './publish.ts';
import { showCluster, showNext } from './show.ts';
import { QUESTION } from './snapshot.ts';
import type { Target } from './target.ts';
import { waitForNode } from './wait.ts';

/** How long the node may take from apply to Ready. */
const READY_MS = { vllm: 900_000, sim: 300_000 } as const;

/** Keys, certificates and publications of the private network. Made anew with each new cluster. */
export const networkDir = (target: Target): string => join(target.dir, 'network');

export interface DemoImages {
  readonly resultity: PushedImage;
  readonly runtime: PushedImage;
  /** Beside a real runtime for CPUs: what is published for nvidia. */
  readonly standin?: PushedImage;
}

export const buildImages = async (target: Target, runtime: Runtime, progress: Progress): Promise<DemoImages> => {
  const options = { registry: target.registry, progress };
  const resultity = await progress.step('image resultity', () => buildResultityImage(options));
  const build = runtime === 'vllm' ? buildVllmCpuImage : buildSimImage;
  return { resultity, runtime: await progress.step(`image of the runtime (${runtime})`, () => build(options)) };
};

/** The namespaces, both under the restricted profile. */
const NAMESPACES = [SYSTEM_NAMESPACE, NODE_NAMESPACE]
  .map(
    (name) => `apiVersion: v1
kind: Namespace
metadata:
  name: ${name}
  labels: { pod-security.kubernetes.io/enforce: restricted }
`,
  )
  .join('---\n');

/** Volumes on our own cluster's node: the model files that the network service serves, and its ledger. */
const volumes = (models: string, ledger: string): string =>
  [
    hostVolume('models', models, 'demo-models', 'ReadOnlyMany'),
    hostVolume('ledger', ledger, 'data-resultity-network-0', 'ReadWriteOnce'),
    {
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: { name: 'demo-models', namespace: SYSTEM_NAMESPACE },
      spec: {
        accessModes: ['ReadOnlyMany'],
        storageClassName: '',
        volumeName: 'resultity-demo-models',
        resources: { requests: { storage: '1Gi' } },
      },
    },
  ]
    .map((object) => stringify(object))
    .join('---\n');

const hostVolume = (name: string, path: string, claim: string, mode: string): object => ({
  apiVersion: 'v1',
  kind: 'PersistentVolume',
  metadata: { name: `resultity-demo-${name}` },
  spec: {
    capacity: { storage: '1Gi' },
    accessModes: [mode],
    persistentVolumeReclaimPolicy: 'Retain',
    storageClassName: '',
    claimRef: { namespace: SYSTEM_NAMESPACE, name: claim },
    hostPath: { path, type: 'Directory' },
  },
});

/** Keys, root and certificates of a private network, unless they stand from a demo that was kept. */
const initNetwork = async (target: Target): Promise<string> => {
  const dir = networkDir(target);
  if (!target.found) rmSync(target.dir, { recursive: true, force: true }); // of a run that was killed
  if (existsSync(join(dir, 'roots/1.json'))) return dir;
  mkdirSync(join(dir, '..'), { recursive: true });
  const password = join(dir, '..', 'password');
  writeFileSync(password, 'only for the demo\n', { mode: 0o600 });
  await cli('network', [
    ...['init', '--dir', dir, '--network', 'demo', '--environment', 'testnet', '--chain-id', '31337'],
    ...['--endpoint', `https://${NETWORK_HOST}:${NETWORK_PORT}`, '--san', 'localhost,127.0.0.1'],
    ...['--password-file', password],
  ]);
  return dir;
};

const installChart = async (target: Target, images: DemoImages, dir: string, served: string): Promise<void> => {
  await target.kubectl(['apply', '-f', '-'], NAMESPACES);
  if (target.cluster) {
    const ledger = join(target.dir, 'ledger');
    mkdirSync(ledger, { recursive: true });
    chownSync(ledger, IDS.agent, IDS.agent);
    await target.kubectl(['apply', '-f', '-'], volumes(served, ledger));
  }
  await target.kubectl(['-n', SYSTEM_NAMESPACE, 'apply', '-f', join(dir, 'kubernetes/network-secret.yaml')]);
  await target.kubectl(['-n', NODE_NAMESPACE, 'apply', '-f', join(dir, 'kubernetes/root-configmap.yaml')]);
  const [repository = '', digest = ''] = images.resultity.ref.split('@');
  const values = {
    image: { repository, digest },
    operator: { replicas: 1, allowedRepositories: [target.registry.pull] },
    networkService: {
      enabled: true,
      authorities: [`${NETWORK_HOST}:${NETWORK_PORT}`],
      ...(target.cluster
        ? {
            modelsVolume: { persistentVolumeClaim: { claimName: 'demo-models', readOnly: true } },
            storage: { size: '1Gi' },
          }
        : { modelsImage: (await buildModelsImage(served, { registry: target.registry })).ref }),
    },
  };
  const file = join(dir, '..', 'values.json');
  writeFileSync(file, JSON.stringify(values, null, 2));
  await target.helm([
    ...['upgrade', '--install', 'resultity', join(repoRoot, 'charts/resultity-operator')],
    ...['--namespace', SYSTEM_NAMESPACE, '--values', file, '--wait', '--timeout', '180s'],
  ]);
};

export const applyManifests = async (target: Target): Promise<void> => {
  for (const file of ['network.yaml', 'node.yaml']) {
    const text = readFileSync(join(repoRoot, 'hack/demo', file), 'utf8').replace(
      '127.0.0.1:5000',
      target.registry.pull,
    );
    await target.kubectl(['-n', NODE_NAMESPACE, 'apply', '-f', '-'], text);
  }
};

/** A kept demo may run other images. The operator would roll them in place; a new pod is there sooner. */
const replaceOutdatedPod = async (target: Target, images: DemoImages): Promise<void> => {
  const now = await target.kubectl([
    ...['-n', NODE_NAMESPACE, 'get', 'pod', 'demo-0', '--ignore-not-found', '-o'],
    'jsonpath={.spec.initContainers[0].image} {.spec.containers[0].image}',
  ]);
  if (now === '' || now === `${images.resultity.ref} ${images.runtime.ref}`) return;
  await target.kubectl(['-n', NODE_NAMESPACE, 'delete', 'pod', 'demo-0', '--timeout=180s']);
};

const showAnswer = (kind: string, a: Answer, progress: Progress): void => {
  const rate = a.completionTokens / Math.max(0.001, (a.totalMs - (kind === 'streamed' ? a.firstTokenMs : 0)) / 1000);
  const first = kind === 'streamed' ? `first token ${Math.round(a.firstTokenMs)} ms, ` : '';
  progress.line(`A ${a.text.trim()}`);
  progress.line(
    `  (${kind}; ${first}${a.completionTokens} tokens, ${formatElapsed(a.totalMs)}, ${rate.toFixed(0)} tok/s; job ${a.job} on ${a.node})`,
  );
};

/** Asks, shows what was signed, and verifies it offline with the same code that users run. */
const askAndVerify = async (
  api: NetworkApi,
  dir: string,
  model: string,
  expect: string,
  progress: Progress,
): Promise<void> => {
  progress.line(`\nQ ${QUESTION.messages[1].content}`);
  for (const stream of [true, false]) {
    const kind = stream ? 'streamed' : 'not streamed';
    const answer = await api.ask({ model, ...QUESTION }, stream);
    showAnswer(kind, answer, progress);
    if (!answer.text.includes(expect)) throw new Error(`the ${kind} answer does not contain "${expect}"`);
    const receipts = await api.receipts(answer.job);
    const receiptFile = join(dir, '..', 'receipt.json');
    const outputFile = join(dir, '..', 'output.txt');
    writeFileSync(receiptFile, receipts);
    writeFileSync(outputFile, answer.output ?? '');
    if (stream)
      progress.line(
        `  signed result and receipt: ${JSON.stringify(JSON.parse(receipts).receipts?.[0], null, 2).replaceAll('\n', '\n  ')}`,
      );
    const verified = await cli('cli', [
      'receipt',
      'verify',
      receiptFile,
      '--root',
      join(dir, 'roots/1.json'),
      '--output',
      outputFile,
    ]);
    progress.line(verified.trimEnd().replace(/^/gm, '  '));
  }
};

/** What `install` made: a private network with a published snapshot, and the operator. */
export interface Installed {
  readonly dir: string;
  readonly images: DemoImages;
  /** Of the published model. */
  readonly model: string;
  readonly expect: string;
  /** Forwards a local port to the network service while `use` runs. */
  reach<T>(use: (port: number) => Promise<T>): Promise<T>;
  /** The same with a client of the OpenAI-compatible API on it. */
  withApi<T>(use: (api: NetworkApi) => Promise<T>): Promise<T>;
}

const installedOn = (target: Target, dir: string, images: DemoImages, runtime: Runtime): Installed => {
  const { name, version, expect } = firstModel(runtime);
  const reach: Installed['reach'] = async (use) => {
    const forward = await target.forward(SYSTEM_NAMESPACE, 'resultity-network', NETWORK_PORT);
    try {
      return await use(forward.port);
    } finally {
      forward.close();
    }
  };
  return {
    dir,
    images,
    model: `${name}:${version}`,
    expect,
    reach,
    withApi: (use) =>
      reach(async (port) => {
        const key = readFileSync(join(dir, 'api-key'), 'utf8').trim();
        const api = await NetworkApi.open(`https://127.0.0.1:${port}`, join(dir, 'tls/ca.crt'), key);
        try {
          return await use(api);
        } finally {
          await api.close();
        }
      }),
  };
};

/** Everything up to, but without, the user's manifests: images, network, chart, publication. */
export const install = async (target: Target, runtime: Runtime, progress: Progress): Promise<Installed> => {
  const images = await buildImages(target, runtime, progress);
  const dir = await progress.step('private network: keys, root, certificates', () => initNetwork(target));
  const served = await serveModel(target.dir, firstModel(runtime), progress);
  await progress.step('chart installed with Helm', () => installChart(target, images, dir, served));
  const installed = installedOn(target, dir, images, runtime);
  await progress.step('snapshot signed and published', () => publish(installed, [firstModel(runtime)]));
  return installed;
};

/** The whole demo on a target. Throws, with what stands in the way, when any part of it is not as it should be. */
export const runDemo = async (target: Target, runtime: Runtime, leave: boolean, progress: Progress): Promise<void> => {
  try {
    const installed = await install(target, runtime, progress);
    await applyManifests(target);
    if (target.found) await replaceOutdatedPod(target, installed.images);
    progress.line('applied hack/demo/network.yaml and hack/demo/node.yaml');
    await waitForNode(target, NODE_NAMESPACE, 'demo-0', READY_MS[runtime], progress);
    await installed.withApi((api) => askAndVerify(api, installed.dir, installed.model, installed.expect, progress));
    await showCluster(target, progress);
    await showNext(target, installed.dir, installed.model, leave, progress);
  } catch (error) {
    await explainFailure(target, progress);
    throw error;
  }
};

/** What a person would look at first. */
const explainFailure = async (target: Target, progress: Progress): Promise<void> => {
  const looks: string[][] = [
    ['get', 'rnet,amodel,rnode,pod', '-A'],
    ['-n', NODE_NAMESPACE, 'describe', 'rnode', 'demo-0'],
    ['-n', NODE_NAMESPACE, 'describe', 'pod'],
    ['-n', NODE_NAMESPACE, 'logs', '-l', 'resultity.com/node=demo-0', '--all-containers', '--tail=40', '--prefix'],
    ['-n', SYSTEM_NAMESPACE, 'logs', '-l', 'app.kubernetes.io/component=operator', '--tail=40'],
    ['-n', SYSTEM_NAMESPACE, 'logs', '-l', 'app.kubernetes.io/component=network', '--tail=40'],
  ];
  for (const args of looks) {
    const text = await target.kubectl(args).catch((e: Error) => e.message);
    progress.line(`--- kubectl ${args.join(' ')}\n${text.trimEnd()}`);
  }
};
