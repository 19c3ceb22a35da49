import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A source of files over HTTP that knows ranges, with the faults of a test laid over it. */
export class FileSource {
  readonly files = new Map<string, Buffer>();
  readonly asked: {
    path: string;
    range: string | undefined;
    ifRange: string | undefined;
    authorization: string | undefined;
  }[] = [];
  /** Bytes of bodies that were handed to the socket. */
  sent = 0;
  /** Takes the request over when it returns true. */
  before: ((...args: Parameters<RequestListener>) => boolean) | null = null;
  /** Strong tag of a file; none by default. */
  etag: ((path: string) => string) | null = null;
  ranges = true;
  #server: Server | null = null;
  url = '';

  async listen(): Promise<this> {
    const server = createServer((req, res) => {
      const path = (req.url ?? '').slice(1);
      const { range, authorization } = req.headers;
      this.asked.push({ path, range, ifRange: req.headers['if-range'] as string | undefined, authorization });
      if (!this.before?.(req, res)) this.serve(req, res);
    });
    this.#server = server;
    await new Promise<void>((r) => server.listen(0, '127.0.0.1', r));
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    return this;
  }

  /** The right answer, cut after `upTo` bytes of the whole file. */
  serve(
    req: Parameters<RequestListener>[0],
    res: Parameters<RequestListener>[1],
    upTo = Number.POSITIVE_INFINITY,
  ): void {
    const path = (req.url ?? '').slice(1);
    const body = this.files.get(path);
    if (!body) return void res.writeHead(404).end();
    const tag = this.etag?.(path);
    const asked = Number(/^bytes=(\d+)-$/.exec(req.headers.range ?? '')?.[1] ?? 0);
    const from = this.ranges && (req.headers['if-range'] ?? tag) === tag ? asked : 0;
    res.writeHead(from > 0 ? 206 : 200, {
      'content-length': body.length - from,
      ...(tag ? { etag: tag } : {}),
      ...(from > 0 ? { 'content-range': `bytes ${from}-${body.length - 1}/${body.length}` } : {}),
    });
    const part = body.subarray(from, Math.min(body.length, Math.max(from, upTo)));
    this.sent += part.length;
    if (from + part.length < body.length) res.write(part, () => setTimeout(() => res.destroy(), 20));
    else res.end(part);
  }

  close(): void {
    this.#server?.closeAllConnections();
    this.#server?.close();
  }
}
