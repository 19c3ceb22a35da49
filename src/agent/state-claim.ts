import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { CodedError } from '../lib/errors.ts';
import { writeDurably } from '../lib/fs.ts';

const zNetwork = z.object({ network: z.string(), environment: z.enum(['testnet', 'mainnet']), chainId: z.number() });
type Network = z.infer<typeof zNetwork>;

const told = ({ network, environment, chainId }: Network): string => `${network} (${environment}, chain ${chainId})`;

/**
 * A state folder belongs to the first network that used it: journal, floor, record and orders of two never mix. One key may
 * take part in several networks, each with a folder of its own.
 * @throws CodedError `state_of_another_network`, also when its mark cannot be read
 */
export const claimState = async (folder: string, own: Network): Promise<void> => {
  await mkdir(folder, { recursive: true });
  const path = join(folder, 'network.json');
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (text === undefined) return await writeDurably(path, JSON.stringify(zNetwork.parse(own)));
  const held = zNetwork.safeParse(parse(text));
  if (held.success && told(held.data) === told(own)) return;
  const whose = held.success ? `belongs to ${told(held.data)}` : `has an unreadable ${path}`;
  throw new CodedError(
    'state_of_another_network',
    `the state folder ${folder} ${whose}, this agent is of ${told(own)}: give each network a state volume of its own (spec.storage.state)`,
  );
};

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};
