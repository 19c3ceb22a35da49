import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { zAgentSettings } from '../../src/api/contract.ts';
import type { Affinity } from '../../src/api/index.ts';
import { facts, kitDocument, NODE_ID, resultityNetwork, resultityNode } from '../../test/support/node-facts.ts';
import type { Container, Pod } from '../pod-types.ts';
import type { NodeFacts } from './facts.ts';
import { desiredPod, templateHash } from './pod.ts';
import { POD_RULES } from './pod-rules.ts';
import { prepare } from './prepare.ts';

const inputOf = (f: NodeFacts) => {
  const { input, blocked } = prepare(f);
  if (input === undefined) throw new Error(`no pod: ${blocked?.message}`);
  return input;
};
const podOf = (f: NodeFacts): Pod => desiredPod(inputOf(f), {});
const containers = (pod: Pod): Container[] => [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])];
const container = (pod: Pod, name: string): Container => containers(pod).find((c) => c.name === name)!;
const env = (c: Container): Record<string, string | undefined> =>
  Object.fromEntries((c.env ?? []).map((e) => [e.name, e.value]));

/** Everything a user may set, at once. */
const everything = facts({
  node: resultityNode(
    {
      owner: {
        wallet: '0x52908400098527886E0F7030069857D2E4169EE7',
        bindSecretRef: { name: 'bind', key: 'bind.json' },
      },
      placement: {
        unreachableSeconds: 60,
        fit: 'Advise',
        pool: 'h200',
        nodeSelector: { zone: 'a' },
        tolerations: [{ key: 'team', operator: 'Equal', value: 'x', effect: 'NoSchedule' }],
        gpu: { resourceName: 'nvidia.com/gpu', count: 2, product: 'NVIDIA-H200', minMemory: '80Gi' },
        runtimeClassName: 'nvidia',
        priorityClassName: 'high',
      },
      runtime: {
        extraArgs: { 'max-model-len': '2048' },
        env: [{ name: 'OMP_NUM_THREADS', value: '4' }],
        resources: { requests: { cpu: '4', memory: '16Gi' }, limits: { memory: '32Gi' } },
        readOnlyRootFilesystem: true,
        securityContext: { runAsUser: 3000, supplementalGroups: [44] },
      },
      storage: {
        state: { claimTemplate: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } } },
        models: { shared: { existingClaim: 'models' } },
      },
      subclouds: { join: ['eu'], leave: ['us'] },
      podTemplate: {
        labels: { 'kueue.x-k8s.io/queue-name': 'gpu' },
        annotations: { note: 'mine' },
        imagePullSecrets: [{ name: 'pull' }],
      },
    },
    { nodeId: NODE_ID },
  ),
  network: {
    ...(facts().network as Extract<NodeFacts['network'], { at: 'ready' }>),
    object: resultityNetwork({
      registration: { enrolmentSecretRef: { name: 'enrol', key: 'token' } },
      images: {
        allowedRepositories: ['registry.example'],
        mirrors: [{ from: 'registry.example', to: '127.0.0.1:5000' }],
      },
      sources: { credentialsSecretRef: { name: 'model-sources' }, maxMiBPerSecond: 40 },
      tls: { proxy: 'http://proxy.example:3128' },
    }),
  },
  offers: undefined,
  settings: { ...facts().settings, allowedRepositories: ['registry.example', '127.0.0.1:5000'] },
});

/** What the restricted profile of the pod security standards asks, as far as a pod of ours could break it. */
const breaches = (pod: Pod): string[] => {
  const found: string[] = [];
  const spec = pod.spec!;
  const of = (c: Container): Record<string, unknown> => c.securityContext as Record<string, unknown>;
  for (const field of ['hostNetwork', 'hostPID', 'hostIPC']) if (spec[field]) found.push(field);
  for (const v of spec.volumes ?? []) {
    const source = Object.keys(v).find((k) => k !== 'name') ?? '';
    if (
      ![
        'configMap',
        'downwardAPI',
        'emptyDir',
        'persistentVolumeClaim',
        'projected',
        'secret',
        'ephemeral',
        'csi',
      ].includes(source)
    )
      found.push(`volume ${v.name}: ${source}`);
  }
  const allowedSysctls = ['net.ipv4.ip_local_port_range', 'net.ipv4.ping_group_range'];
  for (const s of (spec.securityContext?.sysctls ?? []) as { name: string }[])
    if (!allowedSysctls.includes(s.name)) found.push(`sysctl ${s.name}`);
  for (const c of containers(pod)) {
    const s = of(c);
    if (s.allowPrivilegeEscalation !== false) found.push(`${c.name}: escalation`);
    if (s.privileged) found.push(`${c.name}: privileged`);
    if (s.runAsNonRoot !== true || s.runAsUser === 0) found.push(`${c.name}: root`);
    if (JSON.stringify(s.capabilities) !== '{"drop":["ALL"]}') found.push(`${c.name}: capabilities`);
    if ((s.seccompProfile as { type?: string }).type !== 'RuntimeDefault') found.push(`${c.name}: seccomp`);
    for (const p of c.ports ?? []) if ('hostPort' in p) found.push(`${c.name}: hostPort`);
  }
  return found;
};

describe('the desired pod', () => {
  for (const [name, of] of [
    ['smallest', facts()],
    ['everything', everything],
  ] as const)
    it(`is the golden one (${name})`, () => {
      const file = join(import.meta.dirname, 'testdata', `pod-${name}.json`);
      const made = `${JSON.stringify(podOf(of), null, 2)}\n`;
      if (process.env.UPDATE_GOLDEN !== undefined) writeFileSync(file, made);
      expect(JSON.parse(made)).to.deep.equal(JSON.parse(readFileSync(file, 'utf8')));
    });

  it('breaks no rule of the restricted profile', () => {
    expect(breaches(podOf(facts()))).to.deep.equal([]);
    expect(breaches(podOf(everything))).to.deep.equal([]);
  });

  it('asks the scheduler for the memory that the model needs where the label is, by the label of the maker', () => {
    const terms = (gpu: Partial<NonNullable<NodeFacts['node']['spec']['placement']['gpu']>>) => {
      const placement = {
        ...facts().node.spec.placement,
        gpu: { resourceName: 'nvidia.com/gpu', ...gpu },
      };
      const affinity = podOf(facts({ node: resultityNode({ placement }, { nodeId: NODE_ID }) })).spec
        ?.affinity as Affinity;
      return affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms.map((t) =>
        t.matchExpressions?.map((e) => [e.key, e.operator, ...(e.values ?? [])].join(' ')),
      );
    };
    const memory = 'nvidia.com/gpu.memory';
    expect(terms({})).to.deep.equal([[`${memory} Gt 511`], [`${memory} DoesNotExist`]]);
    expect(terms({ minMemory: '80Gi' })).to.deep.equal([[`${memory} Gt 81919`]]);
    expect(terms({ migProfile: '3g.40gb' })?.[0]).to.deep.equal(['nvidia.com/mig-3g.40gb.memory Gt 511']);
    expect(terms({ resourceName: 'example.com/gpu' })?.[0]).to.deep.equal([`${memory} Gt 511`]);
    expect(terms({ resourceName: 'amd.com/gpu', accelerator: 'nvidia' })).to.equal(undefined);
  });

  it('asks for GPUs in the runtime only, and for none with the cpu accelerator', () => {
    const pod = podOf(facts());
    expect(container(pod, 'runtime').resources?.limits).to.deep.equal({ 'nvidia.com/gpu': '1' });
    expect(Object.keys(container(pod, 'agent').resources?.requests ?? {})).to.not.include('nvidia.com/gpu');
    const cpu = (count?: number) =>
      facts({
        node: resultityNode(
          {
            placement: {
              unreachableSeconds: 1,
              fit: 'Advise',
              gpu: { resourceName: 'nvidia.com/gpu', accelerator: 'cpu', ...(count === undefined ? {} : { count }) },
            },
          },
          { nodeId: NODE_ID },
        ),
      });
    expect(container(podOf(cpu()), 'runtime').resources?.limits).to.deep.equal({});
    expect(container(podOf(cpu(1)), 'runtime').resources?.limits).to.deep.equal({ 'nvidia.com/gpu': '1' });
    expect(container(podOf(cpu()), 'runtime').image).to.contain('vllm-cpu@');
    expect(env(container(podOf(cpu()), 'runtime')).VLLM_CPU_KVCACHE_SPACE).to.equal('1');
    expect(env(container(pod, 'runtime'))).to.not.have.property('VLLM_CPU_KVCACHE_SPACE');
  });

  it('gives token, key and state to the agent alone', () => {
    const pod = podOf(everything);
    const mounted = (name: string): string[] => (container(pod, name).volumeMounts ?? []).map((m) => m.name);
    const secrets = ['service-account', 'key', 'state', 'trust', 'enrolment', 'sources', 'bind'];
    expect(mounted('agent')).to.include.members(secrets);
    expect(mounted('runtime')).to.deep.equal(['control', 'engine', 'models', 'cache', 'shm', 'runtime-tmp']);
    expect(pod.spec?.automountServiceAccountToken).to.equal(false);
    const readOnly = (name: string, volume: string): boolean =>
      container(pod, name).volumeMounts?.find((m) => m.name === volume)?.readOnly === true;
    expect([readOnly('runtime', 'control'), readOnly('runtime', 'models'), readOnly('agent', 'engine')]).to.deep.equal([
      true,
      true,
      true,
    ]);
  });

  it('keeps the engine offline and on loopback, whatever the owner sets', () => {
    const own = env(container(podOf(everything), 'runtime'));
    expect(own).to.include({
      HF_HUB_OFFLINE: '1',
      VLLM_HOST_IP: '127.0.0.1',
      GLOO_SOCKET_IFNAME: 'lo',
      HOME: '/cache',
      OMP_NUM_THREADS: '4',
    });
  });

  it('hands the agent settings that its own schema takes', () => {
    const settings = zAgentSettings.parse(JSON.parse(env(container(podOf(everything), 'agent')).RESULTITY_AGENT ?? ''));
    expect(settings.engineArgs).to.deep.equal({ 'max-model-len': '2048' });
    expect(settings.owner).to.deep.equal({ wallet: '0x52908400098527886e0f7030069857d2e4169ee7' });
    expect(settings.network).to.include({
      name: 'testnet',
      endpoint: 'https://io.example',
      proxy: 'http://proxy.example:3128',
    });
  });

  it('keeps to the commands, variables and mounts that the admission policy lets the operator make', () => {
    const { commands, env: variables, mounts } = POD_RULES;
    for (const c of containers(podOf(everything))) {
      const name = c.name as keyof typeof commands;
      expect(commands[name]).to.include(c.command?.join(' '));
      expect(variables[name]).to.include.members(Object.keys(env(c)));
      expect(mounts[name]).to.include.members((c.volumeMounts ?? []).map((m) => m.mountPath));
    }
  });

  it('pulls through the mirror and keeps the digest', () => {
    expect(container(podOf(everything), 'agent').image).to.equal(`127.0.0.1:5000/resultity@sha256:${'b'.repeat(64)}`);
  });

  it('changes its hash with what the user gave, and with nothing that changes often', () => {
    const hash = (f: NodeFacts): string => templateHash(inputOf(f));
    const base = hash(facts());
    const node = facts().node;
    expect(hash(facts({ node: { ...node, spec: { ...node.spec, paused: true } } }))).to.equal(base);
    expect(
      hash(facts({ node: { ...node, status: { ...node.status, assignedModel: 'tiny:v1', phase: 'Active' } } })),
    ).to.equal(base);
    expect(hash(facts({ node: { ...node, spec: { ...node.spec, isolation: 'Sandbox' } } }))).to.not.equal(base);
    expect(hash(everything)).to.not.equal(base);
    const ready = facts().network as Extract<NodeFacts['network'], { at: 'ready' }>;
    const other = kitDocument({
      runtimes: ready.document.runtimes.map((r) => ({ ...r, image: `registry.example/vllm@sha256:${'9'.repeat(64)}` })),
    });
    expect(hash(facts({ network: { ...ready, document: other } })), 'images are patched, not replaced').to.equal(base);
    const sources = { mirrors: [{ from: 'a.example', to: 'b.example' }] };
    const mirrored = { ...ready, object: resultityNetwork({ sources }) };
    expect(hash(facts({ network: mirrored })), 'what stands in the environment').to.not.equal(base);
  });
});
