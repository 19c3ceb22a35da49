import { z } from 'zod';
import { AGENT_ENV, AGENT_PORT, type AgentSettings, PATH, zAgentSettings } from '../api/contract.ts';
import { CodedError } from '../lib/errors.ts';

/** Where things lie; the pod's paths by default, so that a test or a laptop can name others. */
export type Paths = { readonly [K in keyof typeof PATH]: string };
export const POD_PATHS: Paths = PATH;

/** Everything that comes from outside at start, parsed once. */
export interface Settings extends AgentSettings {
  /** This agent's own version, as heartbeats and status tell it. */
  readonly version: string;
  readonly pod: { readonly name: string; readonly uid: string; readonly ip: string; readonly node: string };
  /** The pod's terminationGracePeriodSeconds: one budget shared by all containers. */
  readonly graceSeconds: number;
  /** `host:port` of the API server; undefined outside Kubernetes. */
  readonly apiServer: string | undefined;
  readonly paths: Paths;
  readonly port: number;
}

/** Reads the environment. @throws CodedError `bad_settings` naming the field */
export const parseSettings = (
  env: Readonly<Record<string, string | undefined>>,
  version: string,
  paths: Paths = POD_PATHS,
): Settings => {
  const text = env[AGENT_ENV.settings];
  if (text === undefined)
    throw new CodedError('bad_settings', `the environment variable ${AGENT_ENV.settings} is not set`);
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (cause) {
    throw new CodedError('bad_settings', `${AGENT_ENV.settings} is not JSON`, { cause });
  }
  const parsed = zAgentSettings.safeParse(raw);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new CodedError('bad_settings', `${AGENT_ENV.settings}: ${issue?.path.join('.')} ${issue?.message}`);
  }
  const grace = z.coerce
    .number()
    .min(0)
    .catch(60)
    .parse(env[AGENT_ENV.graceSeconds] ?? 60);
  checkEndpoint(parsed.data);
  return Object.freeze({
    ...parsed.data,
    version,
    pod: {
      name: env[AGENT_ENV.podName] ?? '',
      uid: env[AGENT_ENV.podUid] ?? '',
      ip: env[AGENT_ENV.podIp] ?? '',
      node: env[AGENT_ENV.nodeName] ?? '',
    },
    graceSeconds: grace,
    apiServer: apiServerOf(env),
    paths,
    port: AGENT_PORT,
  });
};

const apiServerOf = (env: Readonly<Record<string, string | undefined>>): string | undefined => {
  const host = env.KUBERNETES_SERVICE_HOST;
  if (!host) return undefined;
  return `${host.includes(':') ? `[${host}]` : host}:${env.KUBERNETES_SERVICE_PORT ?? '443'}`;
};

const LOOPBACK = ['localhost', '127.0.0.1', '[::1]'];

/** https everywhere; http for loopback and for hosts that the operator's configuration names. */
const checkEndpoint = ({ network }: AgentSettings): void => {
  let url: URL;
  try {
    url = new URL(network.endpoint);
  } catch (cause) {
    throw new CodedError('bad_settings', `network.endpoint ${network.endpoint} is no URL`, { cause });
  }
  const insecure = LOOPBACK.includes(url.hostname) || network.allowInsecureHosts.includes(url.hostname);
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && insecure))
    throw new CodedError('bad_settings', `network.endpoint must be https (http only for allowInsecureHosts)`);
};
