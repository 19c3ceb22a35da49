import { lookup } from 'node:dns/promises';
import type { AgentSettings } from '../api/contract.ts';
import type { Clock } from '../lib/clock.ts';
import { assertNever, CodedError } from '../lib/errors.ts';
import type { Tier } from '../protocol/index.ts';
import {
  guardVerdict,
  type LauncherFacts,
  nothingOpen,
  type ProbeVerdict,
  probeTargets,
  probeVerdict,
} from '../runtime/index.ts';

export type IsolationMode = AgentSettings['isolation'];

/** A tier, and how far it is shown to hold. */
export type Isolation =
  | { readonly tier: Tier; readonly provedAt: number }
  | { readonly tier: 'none'; readonly provedAt: 0; readonly why: string };

/** What the launcher is asked to put on itself. Auto begins with the strongest. */
export const launcherTier = (mode: IsolationMode, sandboxUnavailable: boolean): 'sandbox' | 'none' => {
  switch (mode) {
    case 'Sandbox':
      return 'sandbox';
    case 'Auto':
      return sandboxUnavailable ? 'none' : 'sandbox';
    default:
      return 'none';
  }
};

/** A documentation address (RFC 5737): stands for a host whose name never resolved, so that its port is tried anyway. */
const UNRESOLVED = '192.0.2.2';

const resolveName = (host: string): Promise<string> =>
  lookup(host).then((found) => (found.family === 6 ? `[${found.address}]` : found.address));

/**
 * Every way out that the probe tries: the API server, the network, the proxy, the agent by pod address and by loopback, and
 * what src/runtime adds (a public address, the metadata service, DNS by UDP and TCP, and what is no TCP). The runtime has no
 * DNS, so names are resolved here; while they do not resolve, the last address known counts.
 */
export class Surroundings {
  readonly #known = new Map<string, string>();
  readonly #resolve: (host: string) => Promise<string>;

  constructor(resolve: (host: string) => Promise<string> = resolveName) {
    this.#resolve = resolve;
  }

  async targets(at: {
    readonly apiServer: string | undefined;
    readonly endpoint: string;
    readonly proxy: string | undefined;
    readonly podIp: string;
    readonly agentPort: number;
  }): Promise<string[]> {
    const podIp = at.podIp.includes(':') ? `[${at.podIp}]` : at.podIp;
    const loopback = `127.0.0.1:${at.agentPort}`;
    return [
      ...probeTargets({
        ...(at.apiServer === undefined ? {} : { apiServer: at.apiServer }),
        network: await this.#addressOf(at.endpoint),
        agent: podIp === '' ? loopback : `${podIp}:${at.agentPort}`,
      }),
      ...(podIp === '' ? [] : [`tcp:${loopback}`]),
      ...(at.proxy === undefined ? [] : [`tcp:${await this.#addressOf(at.proxy)}`]),
    ];
  }

  async #addressOf(text: string): Promise<string> {
    const url = new URL(text);
    const host = url.hostname.replace(/^\[|\]$/g, '');
    const address = await this.#resolve(host).catch(() => this.#known.get(host) ?? UNRESOLVED);
    this.#known.set(host, address);
    return `${address}:${url.port || (url.protocol === 'http:' ? '80' : '443')}`;
  }
}

export interface ProbePort {
  /** Asks the launcher for one probe; resolves with its number. */
  ask(targets: readonly string[]): Promise<number>;
  facts(): LauncherFacts | null;
  /** Of the agent's own HTTP, which InitGuard leaves open. */
  readonly agentPort: number;
}

/** What proves a tier: which ways out are tried, and how their answers are judged. */
interface Proof {
  readonly tier: Tier;
  readonly tries: (target: string) => boolean;
  readonly judge: (facts: LauncherFacts, n: number, targets: readonly string[]) => ProbeVerdict;
}

/**
 * None proves nothing, and says so. InitGuard leaves loopback and the pod's own address open, and closes what passes through
 * the packet filter: io_uring and fast open do. PodPolicy cannot be proved from inside: it is shown to be no worse than said.
 */
const proofOf = (mode: Exclude<IsolationMode, 'None'>, agentPort: number): Proof => {
  switch (mode) {
    case 'Auto':
    case 'Sandbox':
      return { tier: 'sandbox', tries: () => true, judge: probeVerdict };
    case 'InitGuard':
      return {
        tier: 'sandbox+policy',
        tries: (t) => !/^(fastopen|iouring):/.test(t) && !t.endsWith(`:${agentPort}`),
        judge: guardVerdict,
      };
    case 'PodPolicy':
      return { tier: 'podpolicy', tries: (t) => t.startsWith('tcp:169.254.'), judge: nothingOpen };
    default:
      return assertNever(mode);
  }
};

const PROBE_WAIT_MS = 20_000;

/**
 * Has the launcher try every way out from inside the sandbox, and judges what it met. Resolves with the tier that holds.
 * @throws CodedError `isolation_unproved` with what is open, or why it could not be tried
 */
export const proveIsolation = async (
  mode: IsolationMode,
  launcher: 'sandbox' | 'none',
  targets: readonly string[],
  port: ProbePort,
  clock: Clock,
  signal: AbortSignal,
): Promise<Isolation> => {
  if (mode === 'None') return { tier: 'none', provedAt: clock.now() };
  if (launcher === 'none' && (mode === 'Auto' || mode === 'Sandbox')) {
    const sandbox = port.facts()?.sandbox;
    return { tier: 'none', provedAt: 0, why: sandbox?.error ?? 'the sandbox is not available' };
  }
  const { tier, tries, judge } = proofOf(mode, port.agentPort);
  const tried = targets.filter(tries);
  const n = await port.ask(tried);
  const end = clock.monotonic() + PROBE_WAIT_MS;
  for (;;) {
    const facts = port.facts();
    const verdict = facts && judge(facts, n, tried);
    if (verdict?.proved) return { tier, provedAt: verdict.at };
    const done = facts?.probe?.n === n;
    if (done || clock.monotonic() > end)
      throw new CodedError('isolation_unproved', verdict ? verdict.why : 'the launcher did not answer the probe');
    await clock.sleep(200, signal);
  }
};
