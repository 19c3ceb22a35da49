import type { Dispatcher } from 'undici';
import type { OpenSocket, SocketEvents, SocketPort } from '../../src/agent/socket.ts';
import type { Wire } from '../../src/network/session.ts';
import type { Random } from '../chaos/random.ts';
import { type Host, mark, type Proc, type World } from './world.ts';

/** `up` is from a node to the network. */
export type Way = 'up' | 'down';
export const WAYS: readonly Way[] = ['up', 'down'];

type Item =
  | { readonly kind: 'text'; readonly text: string; readonly true: boolean }
  | { readonly kind: 'ping' | 'pong' | 'reset' }
  | { readonly kind: 'close'; readonly code: number };

/** What the network's end of a new socket is given to. */
export interface Listener {
  readonly proc: Proc;
  /** @returns the session's ends */
  open(wire: Wire, conn: Conn): { message(text: string): void; alive(): void; closed(): void };
  /** One HTTP call, as it arrived. */
  call(call: HttpCall): Promise<{ readonly status: number; readonly body: string }>;
}
export interface HttpCall {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly headers: Record<string, string>;
  readonly body: string;
}

const CONNECT_MS = 10_000;
const ANSWER_MS = 30_000;

/** The way between one node's machine and the network: closed in a direction, its bytes wait, as TCP's do. */
export class Path {
  readonly host: Host;
  readonly conns = new Set<Conn>();
  /** Least and most delay of a packet, ms. */
  delay: readonly [number, number] = [1, 20];
  readonly #random: Random;
  readonly #closed = new Map<Way, { readonly opened: Promise<void>; readonly open: () => void }>();

  constructor(host: Host, random: Random) {
    this.host = host;
    this.#random = random;
  }
  close(way: Way): void {
    if (this.#closed.has(way)) return;
    let open = (): void => {};
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    this.#closed.set(way, { opened, open });
  }
  open(): void {
    for (const gate of this.#closed.values()) gate.open();
    this.#closed.clear();
  }
  isClosed(way: Way): boolean {
    return this.#closed.has(way);
  }
  async passes(way: Way): Promise<void> {
    for (let gate = this.#closed.get(way); gate; gate = this.#closed.get(way)) await gate.opened;
  }
  get latency(): number {
    return this.#random.between(...this.delay);
  }
}

/** One end of a socket. */
interface End {
  readonly proc: Proc;
  open: boolean;
  /** Its close frame is out: nothing more is sent. */
  closing: boolean;
  take(item: Item): void;
  gone(code: number): void;
}

/** One TCP connection with a WebSocket on it: in order, whole, delayed; it can be reset, stall, or lose one end silently. */
export class Conn {
  readonly id: number;
  readonly path: Path;
  /** True texts sent per way, with how often: what may take effect in this session. */
  readonly sent: Record<Way, string[]> = { up: [], down: [] };
  readonly #world: World;
  readonly #queues: Record<Way, { at: number; item: Item }[]> = { up: [], down: [] };
  readonly #pumping: Record<Way, boolean> = { up: false, down: false };
  readonly #last: Record<Way, number> = { up: 0, down: 0 };
  #ends: Record<Way, End> | undefined;
  /** One end was cut off without a word: what is sent is lost, until somebody answers with a reset. */
  #silent = false;

  constructor(world: World, path: Path, id: number) {
    this.#world = world;
    this.path = path;
    this.id = id;
  }
  /** @param ends by the way that leads to them */
  join(ends: Record<Way, End>): void {
    this.#ends = ends;
    this.path.conns.add(this);
    for (const way of WAYS)
      ends[way].proc.onDeath(() => {
        if (!ends[way].open) return;
        ends[way].open = false;
        // a kernel that lives says goodbye for the dead
        if (ends[way].proc.host.powered) this.push(other(way), { kind: 'reset' });
      });
  }
  get alive(): boolean {
    return this.#ends !== undefined && WAYS.some((way) => this.#ends?.[way].open);
  }

  push(way: Way, item: Item): void {
    if (item.kind === 'text' && item.true) this.sent[way].push(item.text);
    if (this.#silent) return;
    const at = Math.max(this.#last[way], this.#world.at + this.path.latency);
    this.#last[way] = at;
    this.#queues[way].push({ at, item });
    if (!this.#pumping[way]) void this.#pump(way);
  }
  /** Bytes that the sender's kernel cannot get rid of. */
  stuck(way: Way): number {
    if (!this.path.isClosed(way)) return 0;
    return this.#queues[way].reduce((n, { item }) => n + (item.kind === 'text' ? item.text.length : 8), 0);
  }
  /** A packet that somebody else makes: a frame of long ago. */
  inject(way: Way, text: string): void {
    this.push(way, { kind: 'text', text, true: false });
  }
  /** Both ends hear that it is over. */
  reset(): void {
    for (const way of WAYS) this.#drop(way);
  }
  /** The end that `way` leads to hears a reset, the other one nothing at all. */
  halfOpen(way: Way): void {
    this.#drop(way);
    this.#silent = true;
    for (const w of WAYS) this.#queues[w].length = 0;
  }
  /** Packets arrive again: where the other end is gone, its machine answers with a reset. */
  heal(): void {
    if (!this.#silent) return;
    this.#silent = false;
    for (const way of WAYS) if (this.#ends?.[way].open) this.push(way, { kind: 'reset' });
  }

  async #pump(way: Way): Promise<void> {
    this.#pumping[way] = true;
    const queue = this.#queues[way];
    for (let head = queue[0]; head; head = queue[0]) {
      if (head.at > this.#world.at) await this.#world.clock.sleep(head.at - this.#world.at);
      await this.path.passes(way);
      const end = this.#ends?.[way];
      await end?.proc.freed();
      // whatever happened while it waited, it is still the first, or the queue was emptied
      if (queue[0] !== head) continue;
      queue.shift();
      this.#arrived(way, head.item);
    }
    this.#pumping[way] = false;
  }
  #arrived(way: Way, item: Item): void {
    const end = this.#ends?.[way];
    if (!end) return;
    if (!end.open) {
      if (end.proc.host.powered && item.kind !== 'reset') this.push(other(way), { kind: 'reset' });
      return;
    }
    if (item.kind === 'text')
      this.#world.trace.note(`conn ${this.id} ${way} ${/"t":"([^"]*)"/.exec(item.text)?.[1]} ${mark(item.text)}`);
    else this.#world.trace.note(`conn ${this.id} ${way} ${item.kind}${item.kind === 'close' ? ` ${item.code}` : ''}`);
    if (item.kind === 'reset') {
      this.#drop(way);
      return;
    }
    if (item.kind === 'ping') this.push(other(way), { kind: 'pong' });
    if (item.kind === 'close') {
      const answered = end.closing;
      end.closing = true;
      if (!answered) this.push(other(way), item);
      end.open = false;
      end.gone(item.code);
      this.#left();
      return;
    }
    end.take(item);
  }
  #drop(way: Way): void {
    const end = this.#ends?.[way];
    if (!end?.open) return;
    end.open = false;
    if (end.proc.alive) end.gone(1006);
    this.#left();
  }
  #left(): void {
    if (!this.alive) this.path.conns.delete(this);
  }
}

const other = (way: Way): Way => (way === 'up' ? 'down' : 'up');

/** The internet between nodes and the one network: sockets and HTTP calls over each node's path. */
export class Net {
  readonly #world: World;
  /** Every socket there ever was. */
  readonly conns: Conn[] = [];
  listener: Listener | null = null;

  constructor(world: World) {
    this.#world = world;
  }

  /** How a node's program opens sockets. */
  sockets(proc: Proc, path: Path): OpenSocket {
    return (events) => {
      const conn = new Conn(this.#world, path, this.conns.length + 1);
      this.conns.push(conn);
      return this.#connect(proc, path, conn, events);
    };
  }

  #connect(proc: Proc, path: Path, conn: Conn, events: SocketEvents): SocketPort {
    let told = false;
    const tell = (code: number): void => {
      if (told || !proc.alive) return;
      told = true;
      events.closed(code);
    };
    const node: End = {
      proc,
      open: true,
      closing: false,
      gone: tell,
      take: (item) => {
        events.alive();
        if (item.kind === 'text') events.message(item.text);
      },
    };
    const establish = async (): Promise<void> => {
      await proc.running();
      const { listener } = this;
      await this.#reach(path, 'up', CONNECT_MS);
      await this.#reach(path, 'down', CONNECT_MS);
      if (!node.open || !proc.alive) return;
      if (!listener?.proc.alive || listener !== this.listener) throw new Error('refused');
      this.#accept(listener, conn, node);
      await proc.running();
      events.opened();
    };
    establish().catch(() => {
      node.open = false;
      tell(1006);
    });
    return {
      send: (text) => {
        if (proc.alive && node.open && !node.closing) conn.push('up', { kind: 'text', text, true: true });
      },
      ping: () => {
        if (proc.alive && node.open) conn.push('up', { kind: 'ping' });
      },
      close: (code) => {
        if (!proc.alive || !node.open || node.closing) return;
        node.closing = true;
        conn.push('up', { kind: 'close', code });
      },
      terminate: () => {
        if (!proc.alive || !node.open) return;
        node.open = false;
        conn.push('up', { kind: 'reset' });
        queueMicrotask(() => tell(1006));
      },
      buffered: () => conn.stuck('up'),
      pause: () => {},
      resume: () => {},
    };
  }

  #accept(listener: Listener, conn: Conn, node: End): void {
    const { proc } = listener;
    const end: End = { proc, open: true, closing: false, take: () => {}, gone: () => {} };
    conn.join({ up: end, down: node });
    const ends = listener.open(
      {
        send: (text) => {
          if (proc.alive && end.open && !end.closing) conn.push('down', { kind: 'text', text, true: true });
        },
        ping: () => {
          if (proc.alive && end.open) conn.push('down', { kind: 'ping' });
        },
        close: (code) => {
          if (!proc.alive || !end.open || end.closing) return;
          end.closing = true;
          conn.push('down', { kind: 'close', code });
        },
        terminate: () => {
          if (!proc.alive || !end.open) return;
          end.open = false;
          conn.push('down', { kind: 'reset' });
          queueMicrotask(() => ends.closed());
        },
        buffered: () => conn.stuck('down'),
        pause: () => {},
        resume: () => {},
      },
      conn,
    );
    end.gone = () => ends.closed();
    end.take = (item) => {
      ends.alive();
      if (item.kind === 'text' && !end.closing) ends.message(item.text);
    };
  }

  /** The part of undici's dispatcher that the agent's HTTP calls use. */
  dispatcher(proc: Proc, path: Path): Dispatcher {
    const request = async (o: Dispatcher.RequestOptions): Promise<unknown> => {
      await proc.running();
      const { listener } = this;
      const body = typeof o.body === 'string' ? o.body : '';
      const headers = (o.headers ?? {}) as Record<string, string>;
      try {
        await this.#reach(path, 'up', CONNECT_MS);
        if (!listener?.proc.alive) {
          if (!listener?.proc.host.powered) await this.#world.clock.sleep(CONNECT_MS);
          throw new Error('ECONNREFUSED');
        }
        const answer = await Promise.race([
          this.#served(listener, { method: o.method as 'GET' | 'POST', path: o.path, headers, body }),
          this.#world.clock.sleep(ANSWER_MS).then(() => Promise.reject(new Error('UND_ERR_HEADERS_TIMEOUT'))),
        ]);
        await this.#reach(path, 'down', ANSWER_MS);
        await proc.running();
        this.#world.trace.note(`http ${o.path} ${answer.status} ${mark(body)} ${mark(answer.body)}`);
        return { statusCode: answer.status, body: [Buffer.from(answer.body)] };
      } catch (error) {
        await proc.running();
        this.#world.trace.note(`http ${o.path} ${(error as Error).message}`);
        throw error;
      }
    };
    return { request } as unknown as Dispatcher;
  }
  async #served(listener: Listener, call: HttpCall): Promise<{ status: number; body: string }> {
    const died = new Promise<never>((_, reject) => listener.proc.onDeath(() => reject(new Error('ECONNRESET'))));
    return Promise.race([listener.proc.running().then(() => listener.call(call)), died]);
  }

  /** One packet one way. @throws when the way is closed for so long */
  async #reach(path: Path, way: Way, ms: number): Promise<void> {
    await this.#world.clock.sleep(path.latency);
    if (!path.isClosed(way)) return;
    const over = new AbortController();
    const late = this.#world.clock.sleep(ms, over.signal).then(
      () => Promise.reject(new Error('ETIMEDOUT')),
      () => {},
    );
    await Promise.race([path.passes(way), late]);
    over.abort();
  }
}
