/** Cuts one direction of a WebSocket connection into whole frames, so that a fault can hit a message and not a byte. */
export class FrameCutter {
  #held: Buffer = Buffer.alloc(0);
  #headed = false;

  /** @returns what may go on, in order: `data` frames are whole text or binary messages; all else is passed as it is */
  push(chunk: Buffer): { readonly bytes: Buffer; readonly data: boolean }[] {
    this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    const out: { bytes: Buffer; data: boolean }[] = [];
    if (!this.#headed) {
      const end = this.#held.indexOf('\r\n\r\n');
      if (end < 0) return [];
      out.push({ bytes: this.#take(end + 4), data: false });
      this.#headed = true;
    }
    for (let size = this.#frameSize(); size !== undefined && this.#held.length >= size; size = this.#frameSize()) {
      const first = this.#held[0] as number;
      const whole = (first & 0x80) !== 0 && [1, 2].includes(first & 0x0f);
      out.push({ bytes: this.#take(size), data: whole });
    }
    return out;
  }

  #take(bytes: number): Buffer {
    const taken = this.#held.subarray(0, bytes);
    this.#held = this.#held.subarray(bytes);
    return taken;
  }

  /** Header, mask and payload of the next frame; undefined while its header is not whole. */
  #frameSize(): number | undefined {
    const b = this.#held;
    if (b.length < 2) return undefined;
    const second = b[1] as number;
    const mask = second & 0x80 ? 4 : 0;
    const short = second & 0x7f;
    if (short < 126) return 2 + mask + short;
    if (short === 126) return b.length < 4 ? undefined : 4 + mask + b.readUInt16BE(2);
    return b.length < 10 ? undefined : 10 + mask + Number(b.readBigUInt64BE(2));
  }
}
