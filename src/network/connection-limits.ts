import type { Server, Socket } from 'node:net';
import { addressOf } from './http.ts';

export interface ConnectionLimits {
  /** Open TCP connections in all, and from one address. */
  readonly connections: number;
  readonly connectionsPerAddress: number;
}

/**
 * Bounds connections before anything is read from them or computed for them, a TLS handshake included: one too many is
 * closed without a byte (docs/protocol.md §6, order of checks).
 */
export const limitConnections = (server: Server, limits: ConnectionLimits): void => {
  const perAddress = new Map<string, number>();
  server.maxConnections = limits.connections;
  server.prependListener('connection', (socket: Socket) => {
    const address = addressOf({ socket });
    const open = perAddress.get(address) ?? 0;
    if (open >= limits.connectionsPerAddress) {
      socket.destroy();
      return;
    }
    perAddress.set(address, open + 1);
    socket.once('close', () => {
      const left = (perAddress.get(address) ?? 1) - 1;
      if (left > 0) perAddress.set(address, left);
      else perAddress.delete(address);
    });
  });
};
