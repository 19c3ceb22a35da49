import { CodedError } from '../lib/errors.ts';

/**
 * Cuts an SSE body into *lines* (docs/protocol.md §5): what follows `data: `, byte for byte, without `[DONE]`, comments
 * and blanks. eventsource-parser is not used here: it joins data fields of one event and strips a BOM, and what is
 * signed must be exactly what was sent.
 */
export class SseLines {
  private rest = '';
  private readonly decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  /** True once `[DONE]` was seen: only then the stream is complete. */
  done = false;
  private readonly maxLine: number;

  constructor(maxLine = 16 << 20) {
    this.maxLine = maxLine;
  }

  /** @throws TypeError for bytes that are no UTF-8, CodedError `output_too_large` for an endless line */
  push(bytes: Uint8Array): string[] {
    const text = this.rest + this.decoder.decode(bytes, { stream: true });
    const raw = text.split('\n');
    this.rest = raw.pop() ?? '';
    if (this.rest.length > this.maxLine) throw new CodedError('output_too_large', 'a line of the stream has no end');
    const lines: string[] = [];
    for (const full of raw) {
      const line = full.endsWith('\r') ? full.slice(0, -1) : full;
      if (!line.startsWith('data:')) continue;
      const data = line.slice(line[5] === ' ' ? 6 : 5);
      if (data === '[DONE]') this.done = true;
      else if (data !== '' && !this.done) lines.push(data);
    }
    return lines;
  }
}
