import { KEY, PATH } from '../../src/api/contract.ts';
import { claimName, trustName } from '../names.ts';
import type { Volume, VolumeMount } from '../pod-types.ts';
import type { PodInput } from './pod-input.ts';

const emptyDir = (name: string, sizeLimit?: string, medium?: 'Memory'): Volume => ({
  name,
  emptyDir: { ...(sizeLimit === undefined ? {} : { sizeLimit }), ...(medium === undefined ? {} : { medium }) },
});
const claim = (name: string, claimName: string): Volume => ({ name, persistentVolumeClaim: { claimName } });

/** Readable by the pod's group and nobody else. */
const PRIVATE = 0o440;
/** The agent's token: the kubelet renews it at 80 % of its life. */
const TOKEN_SECONDS = 3600;

export const podVolumes = (input: PodInput): Volume[] => {
  const { node, network, keySecret } = input;
  const { owner } = node.spec;
  const enrolment = network.object.spec.registration?.enrolmentSecretRef;
  const credentials = network.object.spec.sources?.credentialsSecretRef;
  return [
    emptyDir('control', '16Mi'),
    emptyDir('engine', '16Mi'),
    models(input),
    state(input),
    emptyDir('cache'),
    emptyDir('shm', `${Math.max(1, input.gpu?.count ?? 1)}Gi`, 'Memory'),
    emptyDir('agent-tmp', '64Mi'),
    emptyDir('runtime-tmp'),
    {
      name: 'annotations',
      downwardAPI: {
        defaultMode: PRIVATE,
        items: [{ path: 'annotations', fieldRef: { fieldPath: 'metadata.annotations' } }],
      },
    },
    { name: 'trust', configMap: { name: trustName(node.spec.networkRef.name), defaultMode: PRIVATE } },
    {
      name: 'key',
      secret: { secretName: keySecret, defaultMode: PRIVATE, items: [{ key: KEY.privateKey, path: KEY.privateKey }] },
    },
    {
      name: 'service-account',
      projected: {
        defaultMode: PRIVATE,
        sources: [
          { serviceAccountToken: { path: 'token', expirationSeconds: TOKEN_SECONDS } },
          { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
          { downwardAPI: { items: [{ path: 'namespace', fieldRef: { fieldPath: 'metadata.namespace' } }] } },
        ],
      },
    },
    ...(enrolment === undefined
      ? []
      : [
          {
            name: 'enrolment',
            secret: {
              secretName: enrolment.name,
              optional: true,
              defaultMode: PRIVATE,
              items: [{ key: enrolment.key, path: KEY.enrolment }],
            },
          },
        ]),
    ...(credentials === undefined
      ? []
      : [
          {
            // each key is a host's name, so the Secret is mounted whole
            name: 'sources',
            secret: { secretName: credentials.name, optional: true, defaultMode: PRIVATE },
          },
        ]),
    ...(owner.bindSecretRef === undefined
      ? []
      : [
          {
            name: 'bind',
            secret: {
              secretName: owner.bindSecretRef.name,
              optional: true,
              defaultMode: PRIVATE,
              items: [{ key: owner.bindSecretRef.key, path: KEY.bind }],
            },
          },
        ]),
  ];
};

const state = ({ node }: PodInput): Volume => {
  const at = node.spec.storage?.state;
  if (at?.existingClaim !== undefined) return claim('state', at.existingClaim);
  if (at?.claimTemplate !== undefined) return claim('state', claimName(node.metadata.name ?? '', 'state'));
  return emptyDir('state', at?.ephemeral?.sizeLimit);
};

const models = ({ node }: PodInput): Volume => {
  const at = node.spec.storage?.models;
  if (at?.shared?.existingClaim !== undefined) return claim('models', at.shared.existingClaim);
  if (at?.shared?.hostPath !== undefined)
    return { name: 'models', hostPath: { path: at.shared.hostPath, type: 'DirectoryOrCreate' } };
  if (at?.claimTemplate !== undefined) return claim('models', claimName(node.metadata.name ?? '', 'models'));
  return emptyDir('models', at?.ephemeral?.sizeLimit);
};

function folderOf(file: string): string {
  return file.slice(0, file.lastIndexOf('/'));
}
const rw = (name: string, mountPath: string): VolumeMount => ({ name, mountPath });
const ro = (name: string, mountPath: string): VolumeMount => ({ name, mountPath, readOnly: true });

/** Every path at which something may be mounted. */
export const MOUNT_PATHS: { readonly agent: readonly string[]; readonly runtime: readonly string[] } = {
  agent: [
    ...[PATH.control, PATH.engine, PATH.models, PATH.state, '/tmp', folderOf(PATH.annotations), PATH.trust, PATH.key],
    ...[PATH.serviceAccount, PATH.enrolment, PATH.sources, PATH.bind],
  ],
  runtime: [PATH.control, PATH.engine, PATH.models, PATH.cache, '/dev/shm', '/tmp'],
};

/** The agent alone sees state, key, token and trust; it connects to the engine's socket through a read-only mount. */
export const agentMounts = (input: PodInput): VolumeMount[] => [
  rw('control', PATH.control),
  ro('engine', PATH.engine),
  rw('models', PATH.models),
  rw('state', PATH.state),
  rw('agent-tmp', '/tmp'),
  ro('annotations', folderOf(PATH.annotations)),
  ro('trust', PATH.trust),
  ro('key', PATH.key),
  ro('service-account', PATH.serviceAccount),
  ...(input.network.object.spec.registration?.enrolmentSecretRef === undefined
    ? []
    : [ro('enrolment', PATH.enrolment)]),
  ...(input.network.object.spec.sources?.credentialsSecretRef === undefined ? [] : [ro('sources', PATH.sources)]),
  ...(input.node.spec.owner.bindSecretRef === undefined ? [] : [ro('bind', PATH.bind)]),
];

/** The runtime reads models and orders, and writes only its socket folder, its cache and its shared memory. */
export const runtimeMounts = (): VolumeMount[] => [
  ro('control', PATH.control),
  rw('engine', PATH.engine),
  ro('models', PATH.models),
  rw('cache', PATH.cache),
  rw('shm', '/dev/shm'),
  rw('runtime-tmp', '/tmp'),
];
