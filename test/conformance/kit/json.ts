/** JSON as §1 rules it, and RFC 8785 (a second implementation of both). */

class Reader {
  readonly #text: string;
  #at = 0;
  constructor(text: string) {
    this.#text = text;
  }
  document(): unknown {
    const value = this.#value(0);
    this.#space();
    if (this.#at !== this.#text.length) this.#fail('something follows the value');
    return value;
  }
  #fail(why: string): never {
    throw new Error(`JSON at ${this.#at}: ${why}`);
  }
  #space(): void {
    while (' \t\n\r'.includes(this.#text[this.#at] ?? '?')) this.#at++;
  }
  #next(token: string): boolean {
    this.#space();
    if (!this.#text.startsWith(token, this.#at)) return false;
    this.#at += token.length;
    return true;
  }
  #value(depth: number): unknown {
    if (this.#next('{')) return this.#object(depth + 1);
    if (this.#next('[')) return this.#array(depth + 1);
    if (this.#next('true')) return true;
    if (this.#next('false')) return false;
    if (this.#next('null')) return null;
    return this.#text[this.#at] === '"' ? this.#string() : this.#number();
  }
  #object(depth: number): unknown {
    if (depth > 32) this.#fail('deeper than 32');
    const made: Record<string, unknown> = {};
    if (this.#next('}')) return made;
    do {
      this.#space();
      const key = this.#string();
      if (Object.hasOwn(made, key)) this.#fail(`the key ${key} stands twice`);
      if (!this.#next(':')) this.#fail('no colon');
      const value = this.#value(depth);
      Object.defineProperty(made, key, { value, enumerable: true, writable: true, configurable: true });
    } while (this.#next(','));
    if (!this.#next('}')) this.#fail('the object does not end');
    return made;
  }
  #array(depth: number): unknown {
    if (depth > 32) this.#fail('deeper than 32');
    const made: unknown[] = [];
    if (this.#next(']')) return made;
    do made.push(this.#value(depth));
    while (this.#next(','));
    if (!this.#next(']')) this.#fail('the list does not end');
    return made;
  }
  #string(): string {
    const match = /"(?:[^"\\]|\\.)*"/sy;
    match.lastIndex = this.#at;
    const raw = match.exec(this.#text)?.[0];
    if (raw === undefined) return this.#fail('no string');
    const value = JSON.parse(raw) as string;
    if (!value.isWellFormed()) this.#fail('a lone surrogate');
    this.#at += raw.length;
    return value;
  }
  #number(): number {
    const match = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y;
    match.lastIndex = this.#at;
    const found = match.exec(this.#text);
    if (!found) return this.#fail('no value');
    const value = Number(found[0]);
    const whole = found[1] === undefined && found[2] === undefined;
    if (!Number.isFinite(value) || (whole && !Number.isSafeInteger(value))) this.#fail('a number beyond its bounds');
    this.#at += found[0].length;
    return value;
  }
}

/** Parses a whole text; throws on duplicate keys, lone surrogates, depth above 32, integers beyond 2^53 − 1. */
export const parseJson = (text: string): unknown => new Reader(text).document();

/** The text of RFC 8785: keys by their UTF-16 code units, numbers and strings as ECMAScript writes them. */
export const canonical = (value: unknown): string => {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).filter(([, item]) => item !== undefined);
  entries.sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${canonical(item)}`).join(',')}}`;
};
