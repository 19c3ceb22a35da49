/**
 * An error with a stable code. Callers decide by `code`, never by text.
 * `message` names the step that failed and, where there is one, the way out; the cause is chained.
 */
export class CodedError<Code extends string = string> extends Error {
  readonly code: Code;
  constructor(code: Code, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'CodedError';
    this.code = code;
  }
}

export const isCoded = <Code extends string>(error: unknown, ...codes: Code[]): error is CodedError<Code> =>
  error instanceof CodedError && (codes as string[]).includes(error.code);

/** The end of every switch over a closed union: a case that was forgotten does not compile. */
export const assertNever = (value: never): never => {
  throw new CodedError('unreachable', `unexpected value ${JSON.stringify(value)}`);
};

/** One line for a log or a condition: the message and its causes, without stacks. */
export const errorText = (error: unknown): string => {
  const parts: string[] = [];
  for (let e: unknown = error; e !== undefined && parts.length < 4; e = e instanceof Error ? e.cause : undefined) {
    const text = e instanceof Error ? e.message || (e as NodeJS.ErrnoException).code || e.name : String(e);
    if (text && !parts.some((part) => part.includes(text))) parts.push(text);
  }
  return parts.join(': ');
};
