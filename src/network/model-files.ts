import { createReadStream } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import { join, sep } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { HttpFailure } from './errors.ts';

/**
 * GET /models/<path>: files of the network's own models, with ranges, so that nodes can resume. Nothing outside the folder
 * is served, links included; what a file holds is checked by whoever downloads it.
 */
export const modelFiles = (app: FastifyInstance, folder: string): void => {
  app.get<{ Params: { '*': string } }>('/models/*', async (request, reply) => {
    const file = await findFile(folder, request.params['*']);
    if (!file) throw new HttpFailure('not_found', 'no such file');
    const range = parseRange(request.headers.range, file.size);
    void reply.header('accept-ranges', 'bytes').header('etag', file.etag).type('application/octet-stream');
    if (range === 'unsatisfiable') return reply.code(416).header('content-range', `bytes */${file.size}`).send();
    // a range of another version of the file would join into a wrong one
    const ifRange = request.headers['if-range'];
    const part = ifRange !== undefined && ifRange !== file.etag ? undefined : range;
    if (!part) return reply.header('content-length', file.size).send(createReadStream(file.path));
    return reply
      .code(206)
      .header('content-range', `bytes ${part.start}-${part.end}/${file.size}`)
      .header('content-length', part.end - part.start + 1)
      .send(createReadStream(file.path, { start: part.start, end: part.end }));
  });
};

const findFile = async (
  folder: string,
  path: string,
): Promise<{ path: string; size: number; etag: string } | undefined> => {
  if (path.includes('\0') || path.split('/').some((s) => s === '' || s === '.' || s === '..')) return undefined;
  try {
    const root = await realpath(folder);
    const real = await realpath(join(root, path));
    if (!real.startsWith(root + sep)) return undefined;
    const facts = await stat(real);
    return facts.isFile()
      ? { path: real, size: facts.size, etag: `"${facts.size.toString(16)}-${Math.floor(facts.mtimeMs).toString(16)}"` }
      : undefined;
  } catch {
    return undefined;
  }
};

/** One range of `bytes=`; undefined when there is none or several (the whole file is a right answer then). */
export const parseRange = (
  header: string | undefined,
  size: number,
): { start: number; end: number } | 'unsatisfiable' | undefined => {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '');
  if (!match || (match[1] === '' && match[2] === '')) return undefined;
  const [, from = '', to = ''] = match;
  const start = from === '' ? Math.max(0, size - Number(to)) : Number(from);
  const end = from === '' || to === '' ? size - 1 : Math.min(Number(to), size - 1);
  return start > end || start >= size ? 'unsatisfiable' : { start, end };
};
