import { type AddressInfo, createServer, connect as dial, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from './random.ts';
import { FrameCutter } from './ws-frames.ts';

/** `up` is from the client to the upstream. */
export type Direction = 'up' | 'down';

/** What is done to bytes on their way. Each may name one direction; without it, both. */
export type Toxic = { readonly direction?: Direction } & (
  | { readonly kind: 'latency'; readonly ms: number; readonly jitterMs?: number }
  | { readonly kind: 'slow'; readonly bytesPerSecond: number }
  | { readonly kind: 'slice'; readonly bytes: number; readonly gapMs: number }
  /** Takes bytes and drops them; connections stay open, and new ones are taken too. */
  | { readonly kind: 'blackhole' }
  /** Resets the connection after so many bytes of one direction. */
  | { readonly kind: 'limit'; readonly bytes: number }
  /** Whole WebSocket messages: sent twice, or after the one that follows. */
  | { readonly kind: 'duplicate'; readonly chance: number }
  | { readonly kind: 'reorder'; readonly chance: number }
);

type Ends = { readonly client: Socket; readonly upstream: Socket };

/** Which end of a half-open connection finds out that it is cut. */
export type Side = keyof Ends;

interface Link extends Ends {
  readonly lanes: readonly Lane[];
}

/** A cut of which one end knows nothing. */
export interface HalfOpen {
  /** When every WebSocket end that was left has closed by itself (or by `end`): ms since the cut, monotonic. */
  readonly gaveUp: Promise<number>;
  /** Ends the silence: RST to the ends that were left. */
  end(): void;
}

const isWebSocket = (link: Link): boolean => link.lanes.some((lane) => lane.carriesFrames);

/**
 * A TCP proxy on loopback that breaks what passes, as it is told. Toxics hold for present and coming connections until
 * they are replaced; resets and half-open cuts hit the present ones.
 */
export class FaultProxy {
  readonly #upstream: number;
  readonly #random: Random;
  readonly #links = new Set<Link>();
  #server: Server | null = null;
  #toxics: readonly Toxic[] = [];

  /** @param upstreamPort on 127.0.0.1; it may be down, then connections are reset */
  constructor(upstreamPort: number, random: Random) {
    this.#upstream = upstreamPort;
    this.#random = random;
  }

  async listen(): Promise<number> {
    this.#server = createServer({ allowHalfOpen: true }, (client) => this.#open(client));
    await new Promise<void>((resolve) => this.#server?.listen(0, '127.0.0.1', resolve));
    return (this.#server.address() as AddressInfo).port;
  }
  async close(): Promise<void> {
    this.reset();
    await new Promise<void>((resolve) => {
      if (this.#server) this.#server.close(() => resolve());
      else resolve();
    });
  }

  get connections(): number {
    return this.#links.size;
  }
  set toxics(toxics: readonly Toxic[]) {
    this.#toxics = toxics;
  }

  /** RST to both ends of every connection. */
  reset(): void {
    for (const link of [...this.#links]) this.#drop(link);
  }

  /** The WebSocket connections that are open now. */
  get sockets(): ReadonlySet<object> {
    return new Set([...this.#links].filter(isWebSocket));
  }

  /** Cuts one end of every connection by RST and leaves the other open and silent. */
  halfOpen(cut: Side): HalfOpen {
    const cutAt = performance.now();
    const left: Socket[] = [];
    const waiting: Promise<unknown>[] = [];
    for (const link of [...this.#links]) {
      this.#links.delete(link);
      for (const lane of link.lanes) lane.mute();
      const other = link[cut === 'client' ? 'upstream' : 'client'];
      cutOff(link[cut]);
      other.resume();
      left.push(other);
      if (isWebSocket(link)) waiting.push(new Promise((resolve) => other.once('close', resolve)));
      // an end that gives up closes its half first
      other.once('end', () => other.destroy());
    }
    return {
      gaveUp: Promise.all(waiting).then(() => performance.now() - cutAt),
      end: () => {
        for (const socket of left) cutOff(socket);
      },
    };
  }

  #open(client: Socket): void {
    const upstream = dial({ port: this.#upstream, host: '127.0.0.1', allowHalfOpen: true });
    const drop = (): void => this.#drop(link);
    const toxics = (direction: Direction) => (): readonly Toxic[] =>
      this.#toxics.filter((t) => t.direction === undefined || t.direction === direction);
    const link: Link = {
      client,
      upstream,
      lanes: [
        new Lane(client, upstream, toxics('up'), drop, this.#random),
        new Lane(upstream, client, toxics('down'), drop, this.#random),
      ],
    };
    this.#links.add(link);
    for (const socket of [client, upstream]) {
      socket.setNoDelay(true);
      // an error takes the other end with it, but not through a hole: there the other learns nothing
      socket.on('error', () => {
        if (!this.#toxics.some((t) => t.kind === 'blackhole')) drop();
      });
      socket.on('close', () => {
        if (client.destroyed && upstream.destroyed) this.#links.delete(link);
      });
    }
  }

  #drop(link: Link): void {
    if (!this.#links.delete(link)) return;
    for (const lane of link.lanes) lane.mute();
    cutOff(link.client);
    cutOff(link.upstream);
  }
}

/** RST; a socket that is not yet or no longer open both ways is closed plainly: there `reset` fails and leaks the handle. */
const cutOff = (socket: Socket): void => {
  if (socket.connecting || socket.writableEnded || socket.readableEnded || socket.writableLength > 0) socket.destroy();
  else if (!socket.destroyed) socket.resetAndDestroy();
};

/** One direction of one connection: one chunk at a time through the toxics. */
class Lane {
  readonly #to: Socket;
  readonly #toxics: () => readonly Toxic[];
  readonly #drop: () => void;
  readonly #random: Random;
  readonly #cutter = new FrameCutter();
  readonly #stop = new AbortController();
  #frames: boolean | undefined;
  #late: Buffer | null = null;
  #passed = 0;

  constructor(from: Socket, to: Socket, toxics: () => readonly Toxic[], drop: () => void, random: Random) {
    this.#to = to;
    this.#toxics = toxics;
    this.#drop = drop;
    this.#random = random;
    this.#pump(from).catch(() => {});
  }

  /** True once an upgrade to WebSocket passed. */
  get carriesFrames(): boolean {
    return this.#frames === true;
  }

  /** Passes nothing any more. */
  mute(): void {
    this.#stop.abort();
  }

  async #pump(from: Socket): Promise<void> {
    const queue: { readonly bytes: Buffer; readonly at: number }[] = [];
    let ended = false;
    let wake = (): void => {};
    from.on('data', (chunk: Buffer) => {
      if (this.#stop.signal.aborted) return;
      queue.push({ bytes: chunk, at: performance.now() });
      if (queue.length > 256) from.pause();
      wake();
    });
    from.once('end', () => {
      ended = true;
      wake();
    });
    this.#stop.signal.addEventListener('abort', () => wake());
    while (!this.#stop.signal.aborted) {
      const chunk = queue.shift();
      if (chunk) await this.#pass(chunk.bytes, chunk.at);
      else if (ended) {
        if (!this.#toxics().some((t) => t.kind === 'blackhole')) this.#to.end();
        return;
      } else {
        from.resume();
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  }

  async #pass(chunk: Buffer, cameAt: number): Promise<void> {
    const { signal } = this.#stop;
    const toxics = this.#toxics();
    const find = <K extends Toxic['kind']>(kind: K) =>
      toxics.find((t): t is Extract<Toxic, { kind: K }> => t.kind === kind);
    if (find('blackhole')) return;
    const latency = find('latency');
    if (latency) {
      // from its arrival on: what waits behind another chunk is not delayed twice
      const due = cameAt + latency.ms + this.#random.next() * (latency.jitterMs ?? 0) - performance.now();
      if (due > 0) await sleep(due, undefined, { signal });
    }
    const limit = find('limit');
    this.#passed += chunk.length;
    if (limit && this.#passed > limit.bytes) {
      this.#drop();
      return;
    }
    this.#frames ??= /upgrade: *websocket/i.test(chunk.toString('latin1'));
    const slice = find('slice');
    const slow = find('slow');
    const size = slice?.bytes ?? (slow ? Math.max(1, Math.ceil(slow.bytesPerSecond / 20)) : chunk.length);
    for (const part of this.#frames ? this.#shuffled(chunk, find('duplicate'), find('reorder')) : [chunk])
      for (let at = 0; at < part.length; at += size) {
        this.#write(part.subarray(at, at + size));
        if (slice && at + size < part.length) await sleep(slice.gapMs, undefined, { signal });
        if (slow) await sleep((size * 1_000) / slow.bytesPerSecond, undefined, { signal });
      }
  }

  #write(bytes: Buffer): void {
    if (!this.#stop.signal.aborted && !this.#to.destroyed) this.#to.write(bytes);
  }

  /** The chunk's messages as they now follow one another; a message held back follows the next one. */
  #shuffled(chunk: Buffer, duplicate?: { chance: number }, reorder?: { chance: number }): Buffer[] {
    const out: Buffer[] = [];
    for (const { bytes, data } of this.#cutter.push(chunk)) {
      if (data && reorder && !this.#late && this.#random.chance(reorder.chance)) {
        this.#late = bytes;
        continue;
      }
      out.push(bytes);
      if (data && duplicate && this.#random.chance(duplicate.chance)) out.push(bytes);
      if (this.#late) {
        out.push(this.#late);
        this.#late = null;
      }
    }
    return out;
  }
}
