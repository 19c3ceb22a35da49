import { CodedError, systemClock } from '../lib/index.ts';
import type { Io } from './program.ts';

/** What one look says: done, or how far it is. */
export type Look = { readonly done: true } | { readonly done: false; readonly text: string };

export const done: Look = { done: true };
export const notYet = (text: string): Look => ({ done: false, text });

/** The cluster goes on; only the waiting ended: exit 3. */
export class TimedOut extends CodedError<'timed_out'> {
  constructor(message: string) {
    super('timed_out', message);
    this.name = 'TimedOut';
  }
}

/**
 * Looks again and again until it is done; tells each change on stderr.
 * @throws TimedOut with `hint` when `seconds` are over
 */
export const waitUntil = async (
  io: Io,
  of: { readonly what: string; readonly seconds: number; readonly hint: string },
  look: () => Promise<Look>,
): Promise<void> => {
  const clock = io.clock ?? systemClock;
  const started = clock.monotonic();
  let told = '';
  for (;;) {
    const seen = await look();
    if (seen.done) return;
    const waited = clock.monotonic() - started;
    if (seen.text !== told) io.err(`${of.what}: ${seen.text} (${Math.floor(waited / 1000)} s)`);
    told = seen.text;
    if (waited >= of.seconds * 1000)
      throw new TimedOut(
        `${of.what}: not done after ${of.seconds} s (${seen.text}); it goes on in the cluster. ${of.hint}`,
      );
    await clock.sleep(io.pollMs ?? 1000, io.signal);
  }
};
