/** What the API server says to pods: of the operator's account, and to anybody's pods with our label. Ours are rendered by the operator's code. */
import { expect } from 'chai';
import { desiredPod } from '../../operator/node/pod.ts';
import { prepare } from '../../operator/node/prepare.ts';
import { pullPod } from '../../operator/node/pull.ts';
import type { Container, Pod } from '../../operator/pod-types.ts';
import type { ResultityNode } from '../../src/api/index.ts';
import { type Attempt, type Gate, startGate, verdicts } from '../support/admission-rig.ts';
import { facts, NODE_ID, resultityNode } from '../support/node-facts.ts';

const DIGEST = `sha256:${'e'.repeat(64)}`;
const pods = (namespace: string): string => `/api/v1/namespaces/${namespace}/pods`;
const merge = 'application/strategic-merge-patch+json';

/** A pod as the operator makes it; the API server wants a UID of its owner that looks like one. */
const ours = (namespace: string, spec: Partial<ResultityNode['spec']> = {}, name = 'gpu-a'): Pod => {
  const node = resultityNode(
    spec,
    { nodeId: NODE_ID },
    { namespace, name, uid: '4b1d6c2e-0000-4000-8000-0000000000aa' },
  );
  const { input, blocked } = prepare(facts({ node }));
  if (input === undefined) throw new Error(`no pod: ${blocked?.message}`);
  return desiredPod(input, { 'resultity.com/floor': '1,1' });
};
const pull = (namespace: string): Pod => {
  const node = resultityNode({}, { nodeId: NODE_ID }, { namespace, uid: '4b1d6c2e-0000-4000-8000-0000000000aa' });
  const { input } = prepare(facts({ node }));
  if (input === undefined) throw new Error('no pod');
  return pullPod(input, input.images, 'machine');
};
/** The pod with one container changed. */
const but = (pod: Pod, name: string, change: Partial<Container>): Pod => {
  const swap = (all: readonly Container[] | undefined): Container[] =>
    (all ?? []).map((c) => (c.name === name ? { ...c, ...change } : c));
  return {
    ...pod,
    spec: { ...pod.spec, containers: swap(pod.spec?.containers), initContainers: swap(pod.spec?.initContainers) },
  } as Pod;
};
const container = (pod: Pod, name: string): Container =>
  [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])].find((c) => c.name === name) as Container;
const create = (who: string, pod: Pod): Attempt => ({
  who,
  method: 'POST',
  path: `${pods(pod.metadata?.namespace ?? 'gpus')}?dryRun=All`,
  body: pod,
});
const patch = (who: string, name: string, body: object, subresource = ''): Attempt => ({
  who,
  method: 'PATCH',
  path: `${pods('gpus')}/${name}${subresource}?dryRun=All`,
  body,
  type: merge,
});
const harmless = { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } };
const stranger = (name: string, labels: Record<string, string> = {}, image = 'nginx:latest'): Pod =>
  ({ metadata: { name, namespace: 'other', labels }, spec: { containers: [{ name: 'x', image }] } }) as unknown as Pod;

describe('the admission policies of pods', () => {
  let gate: Gate;
  before(async () => {
    gate = await startGate('operator.allowedRepositories={registry.example}');
    const made = await gate.try({ who: 'operator', method: 'POST', path: pods('gpus'), body: ours('gpus') });
    expect(made.status, made.message).to.equal(201);
    await gate.make(pods('other'), stranger('theirs'));
  });
  after(() => gate?.stop());

  describe('pods of ours in a namespace that enforces `restricted`', () => {
    const tiers = ['Auto', 'Sandbox', 'PodPolicy', 'None'] as const;
    verdicts(
      () => gate,
      [
        ...tiers.map((isolation) => ({
          title: `agent and runtime of a node, isolation ${isolation}`,
          attempt: () => create('operator', ours('gpus', { isolation }, `tier-${isolation.toLowerCase()}`)),
        })),
        {
          title: 'a node with everything that its owner may set',
          attempt: () =>
            create(
              'operator',
              ours(
                'gpus',
                {
                  isolation: 'PodPolicy',
                  owner: {
                    wallet: '0x52908400098527886E0F7030069857D2E4169EE7',
                    bindSecretRef: { name: 'bind', key: 'bind.json' },
                  },
                  runtime: {
                    extraArgs: { 'max-model-len': '2048' },
                    env: [{ name: 'OMP_NUM_THREADS', value: '4' }],
                    readOnlyRootFilesystem: true,
                    securityContext: { runAsUser: 3000, supplementalGroups: [44] },
                  },
                  storage: { models: { shared: { existingClaim: 'models' } } },
                  podTemplate: { labels: { 'kueue.x-k8s.io/queue-name': 'gpu' }, annotations: { note: 'mine' } },
                },
                'everything',
              ),
            ),
        },
        { title: 'the pod that brings new images to a machine', attempt: () => create('operator', pull('gpus')) },
        {
          title: 'isolation InitGuard, by the profile itself: its guard needs NET_ADMIN',
          attempt: () => create('operator', ours('gpus', { isolation: 'InitGuard' }, 'guarded')),
          refused: 'PodSecurity',
        },
        {
          title: 'isolation InitGuard in a namespace without the profile',
          attempt: () => create('operator', ours('other', { isolation: 'InitGuard' }, 'guarded')),
        },
      ],
    );
  });

  describe('images', () => {
    const image = (name: string, value: string, pod = ours('gpus', {}, 'image')) =>
      create('operator', but(pod, name, { image: value }));
    verdicts(
      () => gate,
      [
        {
          title: 'a runtime by tag',
          attempt: () => image('runtime', 'registry.example/vllm-nvidia:0.32.0'),
          refused: 'registry.example/vllm-nvidia:0.32.0 is not given by digest; write repository@sha256:…',
        },
        {
          title: 'an agent by a digest that is cut short',
          attempt: () => image('agent', 'registry.example/resultity@sha256:abc'),
          refused: 'is not given by digest',
        },
        {
          title: 'a guard from a repository that is not allowed',
          attempt: () =>
            image('egress-guard', `docker.io/nft@${DIGEST}`, ours('other', { isolation: 'InitGuard' }, 'guard')),
          refused:
            'the repository docker.io/nft is not allowed; allowed are registry.example; add it to operator.allowedRepositories',
        },
        {
          title: 'a repository whose name only begins like an allowed one',
          attempt: () => image('runtime', `registry.example.evil/vllm@${DIGEST}`),
          refused: 'the repository registry.example.evil/vllm is not allowed',
        },
        {
          title: 'a host with a port that is not the allowed one',
          attempt: () => image('runtime', `registry.example:5000/vllm@${DIGEST}`),
          refused: 'the repository registry.example:5000/vllm is not allowed',
        },
        {
          title: 'a tag beside the digest',
          attempt: () => image('runtime', `registry.example/vllm:0.32.0@${DIGEST}`),
        },
        {
          title: 'a pull pod for an image that is not allowed',
          attempt: () => image('runtime', `docker.io/vllm@${DIGEST}`, pull('gpus')),
          refused: 'is not allowed',
        },
        {
          title: 'a new runtime patched in place',
          attempt: () =>
            patch('operator', 'gpu-a', {
              spec: { containers: [{ name: 'runtime', image: `registry.example/vllm@${DIGEST}` }] },
            }),
        },
        {
          title: 'a foreign agent patched in place',
          attempt: () =>
            patch('operator', 'gpu-a', {
              spec: { initContainers: [{ name: 'agent', image: `docker.io/evil@${DIGEST}` }] },
            }),
          refused: 'the repository docker.io/evil is not allowed',
        },
        {
          title: 'the same by a person, who takes our label off at once',
          attempt: () =>
            patch('person', 'gpu-a', {
              metadata: { labels: { 'resultity.com/node': null } },
              spec: { containers: [{ name: 'runtime', image: 'busybox' }] },
            }),
          refused: 'busybox is not given by digest',
        },
        {
          title: 'a label of a node’s pod changed by a person',
          attempt: () => patch('person', 'gpu-a', { metadata: { labels: { team: 'x' } } }),
        },
        {
          title: 'a debug container of a foreign image in a node’s pod',
          attempt: () =>
            patch(
              'person',
              'gpu-a',
              { spec: { ephemeralContainers: [{ name: 'debug', image: 'busybox', securityContext: harmless }] } },
              '/ephemeralcontainers',
            ),
          refused: 'busybox is not given by digest',
        },
        {
          title: 'a debug container of the agent’s image',
          attempt: () =>
            patch(
              'person',
              'gpu-a',
              {
                spec: {
                  ephemeralContainers: [
                    { name: 'debug', image: container(ours('gpus'), 'agent').image, securityContext: harmless },
                  ],
                },
              },
              '/ephemeralcontainers',
            ),
        },
        {
          title: 'a person’s own pod, whatever it runs',
          attempt: () => create('person', stranger('mine')),
        },
        {
          title: 'a person’s own pod that pretends to be a node’s',
          attempt: () => create('person', stranger('mine', { 'resultity.com/node': 'gpu-a' })),
          refused: 'nginx:latest is not given by digest',
        },
      ],
    );
  });

  describe('what the operator’s account may make', () => {
    const pod = (): Pod => ours('gpus', {}, 'made');
    const runtime = (change: (c: Container) => Partial<Container>): Attempt =>
      create('operator', but(pod(), 'runtime', change(container(pod(), 'runtime'))));
    const agent = (change: (c: Container) => Partial<Container>): Attempt =>
      create('operator', but(pod(), 'agent', change(container(pod(), 'agent'))));
    const command = 'the operator starts agent, launcher, guard and their tests';
    verdicts(
      () => gate,
      [
        {
          title: 'a pod without our label',
          attempt: () => create('operator', { ...pod(), metadata: { ...pod().metadata, labels: {} } }),
          refused: 'pods of ResultityNodes only',
        },
        {
          title: 'a pod that no ResultityNode owns',
          attempt: () => create('operator', { ...pod(), metadata: { ...pod().metadata, ownerReferences: [] } } as Pod),
          refused: 'pods of ResultityNodes only',
        },
        {
          title: 'a shell for a runtime',
          attempt: () => runtime(() => ({ command: ['sh', '-c', 'id'] })),
          refused: command,
        },
        {
          title: 'the image’s own program',
          attempt: () => runtime(() => ({ command: [] })),
          refused: command,
        },
        {
          title: 'engine arguments beside the launcher',
          attempt: () => runtime(() => ({ args: ['--trust-remote-code'] }) as Partial<Container>),
          refused: command,
        },
        {
          title: 'the launcher’s command in the agent, who has the key',
          attempt: () => agent(() => ({ command: ['python3', '/run/resultity/control/launcher.py'] })),
          refused: command,
        },
        {
          title: 'a container of another name',
          attempt: () => create('operator', but(pod(), 'runtime', { name: 'helper' })),
          refused: command,
        },
        {
          title: 'LD_PRELOAD in the runtime',
          attempt: () => runtime((c) => ({ env: [...(c.env ?? []), { name: 'LD_PRELOAD', value: '/cache/x.so' }] })),
          refused: 'runtime: LD_PRELOAD may not be set',
        },
        {
          title: 'an engine’s plug-ins by environment',
          attempt: () => runtime((c) => ({ env: [...(c.env ?? []), { name: 'VLLM_PLUGINS', value: 'x' }] })),
          refused: 'runtime: VLLM_PLUGINS may not be set',
        },
        {
          title: 'a variable of the list out of a Secret',
          attempt: () =>
            runtime(
              () =>
                ({
                  env: [{ name: 'OMP_NUM_THREADS', valueFrom: { secretKeyRef: { name: 's', key: 'k' } } }],
                }) as unknown as Partial<Container>,
            ),
          refused: 'runtime: OMP_NUM_THREADS may not be set',
        },
        {
          title: 'NODE_OPTIONS in the agent',
          attempt: () => agent((c) => ({ env: [...(c.env ?? []), { name: 'NODE_OPTIONS', value: '-r /x.js' }] })),
          refused: 'agent: NODE_OPTIONS may not be set',
        },
        {
          title: 'the key mounted into the runtime',
          attempt: () =>
            runtime((c) => ({
              volumeMounts: [...(c.volumeMounts ?? []), { name: 'key', mountPath: '/tmp' }].slice(-1),
            })),
          refused: 'spec.containers[runtime].volumeMounts: Secrets, ConfigMaps and tokens are for the agent alone',
        },
        {
          title: 'a volume over the agent’s program',
          attempt: () =>
            agent((c) => ({ volumeMounts: [...(c.volumeMounts ?? []), { name: 'cache', mountPath: '/app' }] })),
          refused: 'agent: /app is no path',
        },
        {
          title: 'a token for every container',
          attempt: () =>
            create('operator', { ...pod(), spec: { ...pod().spec, automountServiceAccountToken: true } } as Pod),
          refused: 'automountServiceAccountToken: must be false',
        },
        {
          title: 'the annotations of its own pod',
          attempt: () => patch('operator', 'gpu-a', { metadata: { annotations: { 'resultity.com/drain': 'true' } } }),
        },
        {
          title: 'its own pod, lost label put back',
          attempt: () => patch('operator', 'gpu-a', { metadata: { labels: { 'resultity.com/model': 'tiny.v1' } } }),
        },
        {
          title: 'the deletion of its own pod',
          attempt: () => ({ who: 'operator', method: 'DELETE', path: `${pods('gpus')}/gpu-a?dryRun=All` }),
        },
        {
          title: 'the deletion of a person’s pod',
          attempt: () => ({ who: 'operator', method: 'DELETE', path: `${pods('other')}/theirs?dryRun=All` }),
          refused: 'pods of ResultityNodes only',
        },
        {
          title: 'a person’s pod, labelled to look like ours',
          attempt: () => ({
            who: 'operator',
            method: 'PATCH',
            path: `${pods('other')}/theirs?dryRun=All`,
            body: { metadata: { labels: { 'resultity.com/node': 'x' } } },
            type: merge,
          }),
          refused: 'pods of ResultityNodes only',
        },
      ],
    );
  });
});
