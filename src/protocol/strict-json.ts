import { CodedError } from '../lib/errors.ts';

/** The depth of containers that any text may have, counted from 1 (docs/protocol.md §1). */
export const MAX_DEPTH = 32;

export class JsonError extends CodedError<'bad_json'> {
  constructor(message: string) {
    super('bad_json', message);
    this.name = 'JsonError';
  }
}

/**
 * Parses JSON as the protocol demands it: UTF-8 without BOM, no duplicate keys, no lone surrogates, depth ≤ 32, integers
 * within ±(2^53 − 1). A number that is an integer by value but written with fraction, exponent or minus zero comes back
 * boxed (`new Number(1)`), so that a schema for an integer refuses it while free-form parts still serialise it.
 * @throws JsonError
 */
export const parseStrictJson = (input: string | Uint8Array, maxDepth = MAX_DEPTH): unknown => {
  const text = typeof input === 'string' ? input : decodeUtf8(input);
  if (typeof input === 'string' && !text.isWellFormed()) throw new JsonError('text has a lone surrogate');
  return new Parser(text, maxDepth).document();
};

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Decodes UTF-8 exactly; refuses malformed bytes. @throws JsonError */
export const decodeUtf8 = (bytes: Uint8Array): string => {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new JsonError('bytes are not UTF-8');
  }
};

const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON strings must escape them
const PLAIN = /[^"\\\u0000-\u001f]*/y;
const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
};

class Parser {
  readonly #text: string;
  readonly #maxDepth: number;
  #at = 0;

  constructor(text: string, maxDepth: number) {
    this.#text = text;
    this.#maxDepth = maxDepth;
  }

  document(): unknown {
    this.#space();
    const value = this.#value(1);
    this.#space();
    if (this.#at !== this.#text.length) this.#fail('text after the value');
    return value;
  }

  #fail(what: string): never {
    throw new JsonError(`${what} at character ${this.#at}`);
  }

  #space(): void {
    for (;;) {
      const c = this.#text.charCodeAt(this.#at);
      if (c !== 32 && c !== 10 && c !== 13 && c !== 9) return;
      this.#at++;
    }
  }

  #value(depth: number): unknown {
    const c = this.#text[this.#at];
    if (c === '{' || c === '[') {
      if (depth > this.#maxDepth) this.#fail(`depth above ${this.#maxDepth}`);
      return c === '{' ? this.#object(depth) : this.#array(depth);
    }
    if (c === '"') return this.#string();
    if (c === 't') return this.#word('true', true);
    if (c === 'f') return this.#word('false', false);
    if (c === 'n') return this.#word('null', null);
    return this.#number();
  }

  #word<T>(word: string, value: T): T {
    if (!this.#text.startsWith(word, this.#at)) this.#fail('unknown word');
    this.#at += word.length;
    return value;
  }

  #number(): unknown {
    NUMBER.lastIndex = this.#at;
    const match = NUMBER.exec(this.#text);
    if (!match) return this.#fail('unexpected character');
    this.#at = NUMBER.lastIndex;
    const value = Number(match[0]);
    if (!Number.isFinite(value)) this.#fail('number out of range');
    const asInteger = match[1] === undefined && match[2] === undefined;
    if (asInteger) {
      if (!Number.isSafeInteger(value)) this.#fail('integer beyond 2^53 - 1');
      return Object.is(value, -0) ? Object(value) : value;
    }
    return Number.isInteger(value) ? Object(value) : value;
  }

  #string(): string {
    let out = '';
    this.#at++;
    for (;;) {
      PLAIN.lastIndex = this.#at;
      PLAIN.exec(this.#text);
      out += this.#text.slice(this.#at, PLAIN.lastIndex);
      this.#at = PLAIN.lastIndex;
      const c = this.#text[this.#at];
      if (c === '"') {
        this.#at++;
        if (!out.isWellFormed()) this.#fail('lone surrogate');
        return out;
      }
      if (c !== '\\') this.#fail(c === undefined ? 'unfinished string' : 'control character in a string');
      const e = this.#text[this.#at + 1] ?? '';
      if (e === 'u') {
        const hex = this.#text.slice(this.#at + 2, this.#at + 6);
        if (!/^[0-9a-fA-F]{4}$/.test(hex)) this.#fail('bad \\u escape');
        out += String.fromCharCode(Number.parseInt(hex, 16));
        this.#at += 6;
      } else {
        const plain = ESCAPES[e];
        if (plain === undefined) this.#fail('bad escape');
        out += plain;
        this.#at += 2;
      }
    }
  }

  #array(depth: number): unknown[] {
    const out: unknown[] = [];
    this.#at++;
    this.#space();
    if (this.#text[this.#at] === ']') {
      this.#at++;
      return out;
    }
    for (;;) {
      this.#space();
      out.push(this.#value(depth + 1));
      this.#space();
      const c = this.#text[this.#at++];
      if (c === ']') return out;
      if (c !== ',') this.#fail('expected , or ]');
    }
  }

  #object(depth: number): Record<string, unknown> {
    const out: Record<string, unknown> = {};
    this.#at++;
    this.#space();
    if (this.#text[this.#at] === '}') {
      this.#at++;
      return out;
    }
    for (;;) {
      this.#space();
      if (this.#text[this.#at] !== '"') this.#fail('expected a key');
      const key = this.#string();
      if (Object.hasOwn(out, key)) this.#fail('duplicate key');
      this.#space();
      if (this.#text[this.#at++] !== ':') this.#fail('expected :');
      this.#space();
      const value = this.#value(depth + 1);
      // defineProperty, as a plain assignment to __proto__ would set the prototype
      if (key === '__proto__')
        Object.defineProperty(out, key, { value, enumerable: true, writable: true, configurable: true });
      else out[key] = value;
      this.#space();
      const c = this.#text[this.#at++];
      if (c === '}') return out;
      if (c !== ',') this.#fail('expected , or }');
    }
  }
}
