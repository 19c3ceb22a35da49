import { sha256Hex } from '../../src/protocol/index.ts';
import type { ClientRecord } from '../chaos/records.ts';
import type { SimNetwork } from './network.ts';
import type { World } from './world.ts';

const PATIENCE_MS = 120_000;
const DEADLINE_MS = 60_000;

type End = Pick<ClientRecord, 'outcome'> & Partial<Pick<ClientRecord, 'code' | 'raised' | 'outputHash'>>;

/** Callers that ask one question after another, and keep what each of them was told. */
export class SimCallers {
  readonly records: ClientRecord[] = [];
  readonly #world: World;
  readonly #network: SimNetwork;
  readonly #loops: Promise<void>[] = [];
  readonly #leave = new Set<() => void>();
  #stopped = false;
  #ids = 0;

  constructor(world: World, network: SimNetwork) {
    this.#world = world;
    this.#network = network;
  }
  start(callers: number): void {
    for (let i = 0; i < callers; i++) this.#loops.push(this.#caller(i));
  }
  /** Asks nothing new; resolves when every caller has had its end. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#loops);
  }
  /** The service died: every open connection of a caller broke. */
  cut(): void {
    for (const leave of [...this.#leave]) leave();
  }

  async #caller(n: number): Promise<void> {
    const random = this.#world.random(`caller ${n}`);
    const { clock } = this.#world;
    while (!this.#stopped) {
      await clock.sleep(random.between(50, 4_000));
      if (this.#stopped) return;
      const record = await this.ask({
        stream: random.chance(0.5),
        tokens: random.between(1, 12),
        priority: random.between(0, 9),
        deadlineMs: random.chance(0.1) ? random.between(500, 5_000) : DEADLINE_MS,
        leaveAfter: random.chance(0.08) ? random.between(1, 4) : Number.POSITIVE_INFINITY,
      });
      if (record.outcome !== 'complete') await clock.sleep(300);
    }
  }

  /** One request, to its end. */
  async ask(o: {
    stream: boolean;
    tokens: number;
    priority: number;
    deadlineMs: number;
    leaveAfter: number;
  }): Promise<ClientRecord> {
    const { clock, trace } = this.#world;
    const network = this.#network;
    const id = ++this.#ids;
    const at = this.#world.at;
    const { document } = network.publications;
    const model = document?.models[0];
    if (!model) throw new Error('nothing is published');
    const lines: string[] = [];
    let jobId: string | undefined;
    let ended = false;
    const over = new AbortController();
    const record = await new Promise<ClientRecord>((resolve) => {
      const end = (how: End): void => {
        if (ended) return;
        ended = true;
        this.#leave.delete(cut);
        over.abort();
        trace.note(`caller ${id} ${how.outcome} ${how.code ?? ''}`);
        const job = jobId === undefined ? {} : { jobId };
        const record = { id, stream: o.stream, at, endedAt: this.#world.at, lines: lines.length, ...job, ...how };
        this.records.push(record);
        resolve(record);
      };
      const cut = (): void => end({ outcome: 'cut', raised: 'ECONNRESET' });
      this.#leave.add(cut);
      const leave = (): void => {
        if (jobId !== undefined) network.running?.desk.cancel(jobId, 'client_gone');
        end({ outcome: 'left' });
      };
      clock.sleep(PATIENCE_MS, over.signal).then(
        () => end({ outcome: 'hung' }),
        () => {},
      );
      try {
        const now = network.host.clock.now();
        jobId = network.submit(
          {
            kind: 'chat.completions',
            model: model.ref,
            modelDigest: model.digest,
            stream: o.stream,
            priority: o.priority,
            deadline: now + o.deadlineMs,
            keyId: 'caller',
            request: {
              model: model.ref,
              max_tokens: o.tokens,
              messages: [{ role: 'user', content: `question ${id}` }],
              ...(o.stream ? { stream: true, stream_options: { include_usage: true } } : {}),
            },
          },
          {
            offered: () => {},
            lines: (fresh) => {
              if (ended) return;
              lines.push(...fresh);
              if (lines.length >= o.leaveAfter) leave();
            },
            answered: (output, rest) => {
              lines.push(...rest);
              const text = o.stream ? lines.join('\n') : output;
              end({ outcome: 'complete', outputHash: sha256Hex(text) });
            },
            failed: (failure) => end({ outcome: 'error', code: failure.code }),
          },
        );
        if (jobId === undefined) end({ outcome: 'error', code: 'too_large' });
        else trace.note(`caller ${id} asks ${jobId}`);
      } catch (error) {
        end({ outcome: 'error', raised: (error as Error).message });
      }
    });
    return record;
  }
}
