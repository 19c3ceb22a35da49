import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, request } from 'undici';
import type { Layout } from './layout.ts';

/** A small administrator's client of the cluster's API server; the project's own client is not used to build its test bed. */
export interface Admin {
  /** The status and the parsed body. Never throws for a status; throws when there is no connection. */
  call(method: string, path: string, body?: unknown, contentType?: string): Promise<{ status: number; body: unknown }>;
  /** Creates or replaces (server-side apply) one object by its path. Throws when refused. */
  apply(path: string, object: unknown): Promise<void>;
  close(): Promise<void>;
}

export function adminOf(layout: Layout, server: string): Admin {
  const file = (name: string) => readFileSync(join(layout.paths.pki, name));
  const dispatcher = new Agent({
    connect: { ca: file('ca.crt'), cert: file('admin.crt'), key: file('admin.key'), timeout: 3000 },
  });
  const call: Admin['call'] = async (method, path, body, contentType = 'application/json') => {
    const response = await request(`${server}${path}`, {
      method: method as 'GET',
      dispatcher,
      headersTimeout: 10_000,
      bodyTimeout: 10_000,
      ...(body !== undefined && { body: JSON.stringify(body), headers: { 'content-type': contentType } }),
    });
    const text = await response.body.text();
    try {
      return { status: response.statusCode, body: JSON.parse(text) };
    } catch {
      return { status: response.statusCode, body: text };
    }
  };
  return {
    call,
    async apply(path, object) {
      const query = 'fieldManager=resultity-dev-cluster&force=true';
      const { status, body } = await call('PATCH', `${path}?${query}`, object, 'application/apply-patch+yaml');
      if (status >= 300) throw new Error(`apply ${path}: ${status} ${JSON.stringify(body)}`);
    },
    close: () => dispatcher.close(),
  };
}

/** Asks until `check` is true; throws with `what` after `timeoutMs`, or at once when `failed` names a reason. */
export async function waitFor(
  what: string,
  timeoutMs: number,
  check: () => Promise<boolean>,
  options: { failed?: () => string | undefined; signal?: AbortSignal } = {},
): Promise<void> {
  const end = performance.now() + timeoutMs;
  let last = '';
  for (;;) {
    options.signal?.throwIfAborted();
    try {
      if (await check()) return;
      last = '';
    } catch (error) {
      last = `: ${(error as Error).message}`;
    }
    const reason = options.failed?.();
    if (reason) throw new Error(`${what}: ${reason}`);
    if (performance.now() > end) throw new Error(`${what}: not within ${Math.round(timeoutMs / 1000)} s${last}`);
    await sleep(100, undefined, options.signal ? { signal: options.signal } : {});
  }
}
