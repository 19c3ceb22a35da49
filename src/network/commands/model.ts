import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { CodedError } from '../../lib/errors.ts';
import { filesProblem, type ModelFile, modelDigest } from '../../protocol/index.ts';

export interface DescribedModel {
  readonly name: string;
  readonly version: string;
  readonly digest: string;
  readonly files: readonly ModelFile[];
}

/**
 * Name, version, digest and files of a snapshot's model entry, from a folder. Everything in the folder counts.
 * @throws CodedError `bad_model` for links, other non-files, and what the protocol refuses (docs/protocol.md §7)
 */
export const describeModel = async (dir: string, name: string, version: string): Promise<DescribedModel> => {
  if (!/^[a-z0-9][a-z0-9._/-]{0,127}$/.test(name)) throw new CodedError('bad_usage', `"${name}" is no model name`);
  if (!/^[A-Za-z0-9._-]{1,63}$/.test(version)) throw new CodedError('bad_usage', `"${version}" is no model version`);
  const files: ModelFile[] = [];
  for (const entry of await readdir(dir, { recursive: true })) {
    const full = join(dir, entry);
    const facts = await lstat(full);
    if (facts.isDirectory()) continue;
    const path = relative(dir, full).split(sep).join('/');
    if (!facts.isFile()) throw new CodedError('bad_model', `${path} is a link or no file; copy the file itself`);
    files.push({ path, size: facts.size, sha256: await hashFile(full) });
  }
  const problem = filesProblem(files);
  if (problem !== undefined) throw new CodedError('bad_model', `${dir} ${problem}`);
  files.sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)));
  return { name, version, digest: modelDigest(files), files };
};

const hashFile = async (path: string): Promise<string> => {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1_048_576 })) hash.update(chunk as Buffer);
  return hash.digest('hex');
};
