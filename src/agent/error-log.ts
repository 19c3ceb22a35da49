/** The last codes, as heartbeats tell them, and the last error, as status shows it. Codes and messages only: no content. */
export class ErrorLog {
  readonly #codes: string[] = [];
  #last: { readonly code: string; readonly message: string; readonly at: number } | null = null;

  get codes(): readonly string[] {
    return this.#codes;
  }
  get last(): { readonly code: string; readonly message: string; readonly at: number } | null {
    return this.#last;
  }
  add(code: string, message: string, at: number): void {
    if (this.#codes.at(-1) !== code) this.#codes.push(code);
    if (this.#codes.length > 8) this.#codes.shift();
    this.#last = { code, message, at };
  }
}
