import { Agent, type Dispatcher } from 'undici';
import { readNamedFile } from './program.ts';

/** Connections of one command; with a CA bundle only that is trusted. */
export const dispatcherFor = async (caFile: string | undefined): Promise<Dispatcher> => {
  const ca = caFile === undefined ? undefined : await readNamedFile(caFile, 'the CA bundle');
  return new Agent({ connections: 2, connect: { timeout: 10_000, ...(ca === undefined ? {} : { ca }) } });
};
