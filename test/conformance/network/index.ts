/**
 * A minimal second network, written from docs/protocol.md alone. Reading order: `publisher` (roots, snapshots, tickets by
 * keys of its own), `minimal-network` (HTTP and sockets, offers and receipts, checks of all that the agent sends).
 *
 * Invariants: nothing is imported from src/; loopback only; the keys live as long as the process.
 */
export { MinimalNetwork, type Session } from './minimal-network.ts';
