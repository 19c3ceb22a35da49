import type { ConnectionLimits } from './connection-limits.ts';
import type { DispatchLimits } from './dispatch-types.ts';

/** What a network's operator may tune; each default is the document's (docs/protocol.md §2, §3, §5). */
export interface Limits extends DispatchLimits, ConnectionLimits {
  /** Signed calls a minute per node, and per address (or per owner once the owner is proved). */
  readonly callsPerNode: number;
  readonly callsPerAddress: number;
  readonly callsPerOwner: number;
  /** New registrations an hour per address, or per proved owner. */
  readonly registrationsPerAddress: number;
  readonly registrationsPerOwner: number;
  /** Unsigned calls a minute per address. */
  readonly statusPerAddress: number;
  /** Any call a minute per address, judged before signature work. */
  readonly anyPerAddress: number;
  /** Calls a minute per API key that names no limit of its own. */
  readonly apiPerKey: number;
  readonly frameBytes: number;
  /** Sockets of nodes from one address, and in all. */
  readonly socketsPerAddress: number;
  readonly sockets: number;
  /** How far behind the newest configuration an offered node may be. */
  readonly maxLagMs: number;
}

export const DEFAULT_LIMITS: Limits = {
  callsPerNode: 60,
  callsPerAddress: 120,
  callsPerOwner: 10_000,
  registrationsPerAddress: 10,
  registrationsPerOwner: 10_000,
  statusPerAddress: 600,
  anyPerAddress: 20_000,
  apiPerKey: 6_000,
  frameBytes: 1_048_576,
  connections: 40_000,
  connectionsPerAddress: 4_000,
  socketsPerAddress: 2_000,
  sockets: 20_000,
  queue: 10_000,
  queueMs: 60_000,
  noNodeMs: 5_000,
  attempts: 3,
  offers: 20,
  offerMs: 2_000,
  leaseMs: 30_000,
  downGraceMs: 60_000,
  maxLagMs: 3_600_000,
};

export type AdmissionPolicy = 'open' | 'token' | 'allow-list';
