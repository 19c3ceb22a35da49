/** What a person sees of a long piece of work. */
export interface Progress {
  /** Runs `work` under a title; shows the time it has taken while it runs and when it is done. Failures are shown and rethrown. */
  step<T>(title: string, work: (note: (text: string) => void) => Promise<T>): Promise<T>;
  /** One line that stands by itself. */
  line(text: string): void;
}

/** `4 s`, `1 min 05 s`; below ten seconds with one decimal. */
export function formatElapsed(ms: number): string {
  const seconds = ms / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`;
}

interface Output {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

/**
 * Progress lines on a terminal or in a log. On a terminal the running step redraws one line each second; in a log (CI)
 * a step prints when it ends and every 30 s while it runs, so that a reader knows it is alive.
 */
export function terminalProgress(output: Output = process.stderr): Progress {
  const running = new Map<symbol, { title: string; note: string; start: number }>();
  let timer: NodeJS.Timeout | undefined;
  let ticks = 0;
  const clear = () => output.isTTY && output.write('\r\u001b[K');
  const draw = () => {
    ticks++;
    if (!output.isTTY && ticks % 30 !== 0) return;
    const parts = [...running.values()].map(
      (s) => `${s.title}${s.note && ` (${s.note})`} … ${formatElapsed(performance.now() - s.start)}`,
    );
    if (parts.length === 0) return;
    clear();
    output.write(output.isTTY ? `  ${parts.join(' · ').slice(0, 150)}` : `  ${parts.join(' · ')}\n`);
  };
  const print = (text: string) => {
    clear();
    output.write(`${text}\n`);
  };
  return {
    line: print,
    async step(title, work) {
      const id = Symbol(title);
      const state = { title, note: '', start: performance.now() };
      running.set(id, state);
      timer ??= setInterval(draw, 1000).unref();
      try {
        const result = await work((note) => {
          state.note = note;
        });
        print(`✓ ${title}${state.note && ` (${state.note})`} ${formatElapsed(performance.now() - state.start)}`);
        return result;
      } catch (error) {
        print(`✗ ${title} ${formatElapsed(performance.now() - state.start)}`);
        throw error;
      } finally {
        running.delete(id);
        if (running.size === 0) {
          clearInterval(timer);
          timer = undefined;
        }
      }
    },
  };
}

/** Says nothing; for tests. */
export const quietProgress: Progress = {
  line: () => undefined,
  step: (_title, work) => work(() => undefined),
};
