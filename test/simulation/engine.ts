import type { RunFailure, RunOptions, RunResult } from '../../src/runtime/engine-run.ts';
import type { EngineClient } from '../../src/runtime/index.ts';
import type { Random } from '../chaos/random.ts';
import type { CallRecord } from '../chaos/records.ts';
import type { Proc, World } from './world.ts';

/** A stand-in for the engine on the fake clock: tokens at a seeded pace, the three timeouts, and a call log. It outlives its agent. */
export class SimEngine {
  readonly calls: CallRecord[] = [];
  readonly #world: World;
  readonly #label: string;
  readonly #random: Random;
  /** The next requests end as a crash of the engine would end them. */
  crashes = 0;

  constructor(world: World, label: string) {
    this.#world = world;
    this.#label = label;
    this.#random = world.random(`engine ${label}`);
  }

  /** As one run of the agent sees it: its requests end with it. */
  client(proc: Proc): Pick<EngineClient, 'run'> {
    const gone = new AbortController();
    proc.onDeath(() => gone.abort());
    return {
      run: async (kind, request, options) => {
        if (!proc.alive) return new Promise<never>(() => {});
        const key = options.headers?.['x-request-id'] ?? '';
        const call = { at: this.#world.at, path: `/v1/${kind}`, request: key, end: 'open' };
        this.calls.push(call);
        this.#world.trace.note(`engine ${this.#label} starts ${key.slice(-8)}`);
        const result = await this.#generate(proc, request as Record<string, unknown>, options, gone.signal);
        call.end = result.state === 'done' ? 'done' : 'aborted';
        this.#world.trace.note(`engine ${this.#label} ${call.end} ${key.slice(-8)}`);
        await proc.running();
        return result;
      },
    };
  }

  async #generate(
    proc: Proc,
    request: Record<string, unknown>,
    { stream, signal, timeouts, onLine }: RunOptions,
    gone: AbortSignal,
  ): Promise<RunResult> {
    const { clock } = this.#world;
    const tokens = this.#random.between(1, Math.min(12, Number(request.max_tokens ?? 12)));
    const tokenMs = this.#random.between(10, 400);
    const stop = AbortSignal.any(signal ? [signal, gone] : [gone]);
    const end = this.#world.at + timeouts.totalMs;
    const lines: string[] = [];
    const words = Array.from({ length: tokens }, () => `w${this.#random.between(0, 999)} `);
    const failed = (reason: RunFailure): RunResult => ({
      state: 'failed',
      reason,
      detail: reason,
      lines: lines.length,
      completionTokens: lines.length,
    });
    const say = async (line: string): Promise<void> => {
      lines.push(line);
      await proc.running();
      await onLine?.(line, lines.length - 1);
    };
    const usage = { prompt_tokens: 9, completion_tokens: tokens };
    try {
      for (const [i, content] of words.entries()) {
        await clock.sleep(i === 0 ? tokenMs * 2 : tokenMs, stop);
        if (this.#world.at >= end) return failed('timeout_total');
        if (this.crashes > 0 && i >= tokens >> 1) {
          this.crashes--;
          return failed('engine_crash');
        }
        if (stream) await say(JSON.stringify({ choices: [{ index: 0, delta: { content } }] }));
      }
    } catch {
      return failed('cancelled');
    }
    if (stream) await say(JSON.stringify({ choices: [], usage }));
    const output = stream
      ? lines.join('\n')
      : JSON.stringify({ choices: [{ index: 0, message: { role: 'assistant', content: words.join('') } }], usage });
    return {
      state: 'done',
      output,
      lines: lines.length,
      usage: { promptTokens: 9, completionTokens: tokens },
      contentChunks: tokens,
      finishReason: 'stop',
    };
  }
}
