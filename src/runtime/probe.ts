import type { LauncherFacts } from './launcher-files.ts';

/** What must be closed from inside the runtime (docs/faults.md, I13). Hosts are addresses: names need the DNS that is closed. */
export interface ProbeSurroundings {
  /** `host:port` of the API server, from the agent's environment. */
  readonly apiServer?: string;
  /** `host:port` of the network service, resolved by the agent. */
  readonly network?: string;
  /** The agent's own pod IP and port. */
  readonly agent?: string;
}

/** Documentation addresses (RFC 5737) stand for the public internet: nothing is sent to a third party. */
const PUBLIC = '192.0.2.1';

/** Targets that between them use every way out that the sandbox claims to close. */
export const probeTargets = ({ apiServer, network, agent }: ProbeSurroundings): string[] => [
  ...[apiServer, network, agent].flatMap((at) => (at === undefined ? [] : [`tcp:${at}`])),
  'tcp:169.254.169.254:80',
  `tcp:${PUBLIC}:443`,
  `udp:${PUBLIC}:53`,
  `raw:${PUBLIC}`,
  `mptcp:${apiServer ?? `${PUBLIC}:443`}`,
  `fastopen:${apiServer ?? `${PUBLIC}:443`}`,
  'iouring:',
  'dns:kubernetes.default.svc',
];

export type ProbeVerdict =
  | { readonly proved: true; readonly at: number }
  | { readonly proved: false; readonly why: string };

/** The answers of probe `n`, by target; or why there are none. */
const answersOf = (facts: LauncherFacts, n: number, targets: readonly string[]): Map<string, string> | string => {
  if (facts.probe === null || facts.probe.n !== n) return 'the probe has not run yet';
  if (targets.length === 0) return 'nothing was probed';
  return new Map(facts.probe.results.map((r) => [r.target, r.outcome]));
};

const judge = (
  facts: LauncherFacts,
  n: number,
  targets: readonly string[],
  holds: (target: string, outcome: string | undefined) => boolean,
): ProbeVerdict => {
  const answers = answersOf(facts, n, targets);
  if (typeof answers === 'string') return { proved: false, why: answers };
  const loose = targets.flatMap((t) => (holds(t, answers.get(t)) ? [] : [`${t} ${answers.get(t) ?? 'not tried'}`]));
  return loose.length === 0
    ? { proved: true, at: facts.probe?.at ?? 0 }
    : { proved: false, why: `egress is not closed: ${loose.join(', ')}`.slice(0, 256) };
};

/**
 * Whether the answers prove the packet filter of InitGuard (operator/node/pod-guard.ts): a datagram is refused by the kernel
 * (EPERM, which no network answers), a connection is rejected at once. A timeout proves nothing.
 */
export const guardVerdict = (facts: LauncherFacts, n: number, targets: readonly string[]): ProbeVerdict =>
  targets.some((t) => t.startsWith('udp:'))
    ? judge(
        facts,
        n,
        targets,
        (target, outcome) => outcome === 'blocked' || (outcome === 'unreachable' && !/^(udp|raw):/.test(target)),
      )
    : { proved: false, why: 'no datagram was probed' };

/** Whether nothing answered. That is no proof of anything: somebody else may have closed it, and may open it again. */
export const nothingOpen = (facts: LauncherFacts, n: number, targets: readonly string[]): ProbeVerdict =>
  judge(facts, n, targets, (_, outcome) => outcome !== undefined && outcome !== 'open' && outcome !== 'error');

/**
 * Whether the answers prove tier `sandbox`: every asked target was tried inside the sandbox and refused by the kernel
 * (EACCES, EPERM). A refused or timed-out connection proves nothing: the network happened to say no.
 */
export const probeVerdict = (facts: LauncherFacts, n: number, targets: readonly string[]): ProbeVerdict => {
  if (facts.sandbox.tier !== 'sandbox')
    return { proved: false, why: facts.sandbox.error ?? 'the launcher has not confined itself' };
  if (facts.probe?.n === n && facts.probe.tier !== 'sandbox')
    return { proved: false, why: 'the probe ran outside the sandbox' };
  return judge(facts, n, targets, (_, outcome) => outcome === 'blocked');
};
