import { readFile } from 'node:fs/promises';
import type { Clock } from '../lib/clock.ts';
import { Secret } from '../lib/secret.ts';
import { KubeError } from './errors.ts';

/** What TLS needs, as PEM. */
export interface TlsMaterial {
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: Secret | undefined;
  readonly serverName?: string | undefined;
  /** Only where a kubeconfig says insecure-skip-tls-verify. */
  readonly insecure?: boolean | undefined;
}

/** How to reach one API server, and as whom. */
export interface Connection {
  /** Origin and optional path prefix, without a slash at the end. */
  readonly server: string;
  /** The namespace this process lives in, or the kubeconfig's. */
  readonly namespace: string;
  /** Reads the TLS material again; called at most once a minute, so that a rotated CA or certificate is taken up. */
  readonly tls: () => Promise<TlsMaterial>;
  /** The Authorization header, if there is one. `fresh` after a 401: do not answer from a cache. */
  readonly authorization: (fresh: boolean) => Promise<Secret | undefined>;
}

const ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';
/** The kubelet renews a token at 80 % of its life; reading the file each minute is early enough (client-go does the same). */
const TOKEN_CACHE_MS = 60_000;
/** The client library reads files each time it is asked, and asks exec plug-ins when their token has expired. */
const HEADER_CACHE_MS = 10_000;

export interface ConnectionSource {
  /** The environment, given by main: KUBERNETES_SERVICE_HOST and _PORT, KUBECONFIG, HOME. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  /** A kubeconfig to use whatever the environment says. */
  readonly kubeconfig?: string | undefined;
  readonly context?: string | undefined;
  /** Where the service account is mounted (tests). */
  readonly accountFolder?: string | undefined;
}

/** An explicit kubeconfig first, then the pod's service account, then KUBECONFIG or ~/.kube/config. Throws kube_config. */
export const loadConnection = async (source: ConnectionSource): Promise<Connection> => {
  if (source.kubeconfig !== undefined || source.context !== undefined || !source.env.KUBERNETES_SERVICE_HOST) {
    return fromKubeconfig(source);
  }
  return inCluster(source);
};

const inCluster = async ({ env, clock, accountFolder = ACCOUNT }: ConnectionSource): Promise<Connection> => {
  const host = env.KUBERNETES_SERVICE_HOST ?? '';
  const port = env.KUBERNETES_SERVICE_PORT ?? '443';
  const read = async (name: string): Promise<string> => {
    try {
      return (await readFile(`${accountFolder}/${name}`, 'utf8')).trim();
    } catch (cause) {
      throw new KubeError('kube_config', `cannot read the service account's ${name} at ${accountFolder}`, { cause });
    }
  };
  let token: { at: number; value: Secret } | undefined;
  return {
    server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    namespace: await read('namespace').catch(() => 'default'),
    tls: async () => ({ ca: await read('ca.crt') }),
    authorization: async (fresh) => {
      const now = clock.monotonic();
      if (token && !fresh && now - token.at < TOKEN_CACHE_MS) return token.value;
      try {
        token = { at: now, value: new Secret(`Bearer ${await read('token')}`) };
      } catch (error) {
        // A remount can hide the file for a moment: the old token is better than none.
        if (!token) throw error;
      }
      return token.value;
    },
  };
};

/** The heavy client library is loaded here only: it knows every way a kubeconfig can say who one is. */
const fromKubeconfig = async ({ kubeconfig, context, env, clock }: ConnectionSource): Promise<Connection> => {
  const { KubeConfig } = await import('@kubernetes/client-node');
  const load = (): InstanceType<typeof KubeConfig> => {
    const config = new KubeConfig();
    const paths = (kubeconfig ?? env.KUBECONFIG ?? (env.HOME ? `${env.HOME}/.kube/config` : ''))
      .split(':')
      .filter(Boolean);
    const [path] = paths;
    if (path === undefined) throw new KubeError('kube_config', 'no kubeconfig: set KUBECONFIG or name a file');
    try {
      config.loadFromFile(path);
      for (const more of paths.slice(1)) {
        const other = new KubeConfig();
        other.loadFromFile(more);
        config.mergeConfig(other, true);
      }
    } catch (cause) {
      throw new KubeError('kube_config', `cannot read the kubeconfig ${path}`, { cause });
    }
    if (context !== undefined) config.setCurrentContext(context);
    return config;
  };
  let config = load();
  let said: { at: number; value: Secret | undefined } | undefined;
  const cluster = config.getCurrentCluster();
  if (!cluster)
    throw new KubeError('kube_config', `the kubeconfig has no cluster for context ${config.getCurrentContext()}`);
  const options = async (): Promise<HttpsOptions> => {
    const into: HttpsOptions = {};
    await config.applyToHTTPSOptions(into as Parameters<typeof config.applyToHTTPSOptions>[0]);
    return into;
  };
  return {
    server: cluster.server.replace(/\/+$/, ''),
    namespace: config.getContextObject(config.getCurrentContext())?.namespace ?? 'default',
    tls: async () => {
      const o = await options();
      return {
        ca: pem(o.ca),
        cert: pem(o.cert),
        key: o.key === undefined ? undefined : new Secret(pem(o.key) ?? ''),
        serverName: o.servername,
        insecure: o.rejectUnauthorized === false,
      };
    },
    authorization: async (fresh) => {
      const now = clock.monotonic();
      if (fresh) config = load();
      else if (said && now - said.at < HEADER_CACHE_MS) return said.value;
      const o = await options();
      const header = o.auth ? `Basic ${Buffer.from(o.auth).toString('base64')}` : o.headers?.Authorization;
      said = { at: now, value: header === undefined ? undefined : new Secret(String(header)) };
      return said.value;
    },
  };
};

/** The part of node:https' options that the client library fills. */
interface HttpsOptions {
  ca?: string | Buffer | undefined;
  cert?: string | Buffer | undefined;
  key?: string | Buffer | undefined;
  servername?: string | undefined;
  rejectUnauthorized?: boolean | undefined;
  auth?: string | undefined;
  headers?: Record<string, unknown>;
}

const pem = (value: string | Buffer | undefined): string | undefined => value?.toString();

/** A connection of fixed parts: tests, and programs that were given PEM. */
export const fixedConnection = (
  server: string,
  tls: { ca?: string | undefined; cert?: string | undefined; key?: string | undefined } = {},
  namespace = 'default',
  token?: string,
): Connection => ({
  server: server.replace(/\/+$/, ''),
  namespace,
  tls: async () => ({ ca: tls.ca, cert: tls.cert, key: tls.key === undefined ? undefined : new Secret(tls.key) }),
  authorization: async () => (token === undefined ? undefined : new Secret(`Bearer ${token}`)),
});
