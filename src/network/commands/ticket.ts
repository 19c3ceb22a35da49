import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import {
  configAnswer,
  domainOfRoot,
  makeTicket,
  type SignatureEntry,
  signTicket,
  verifyPublication,
} from '../../config/index.ts';
import { CodedError } from '../../lib/errors.ts';
import { writeDurably } from '../../lib/fs.ts';
import type { Secret } from '../../lib/secret.ts';
import { keyFiles, readPublication, readRoots } from './folder.ts';
import type { Io } from './io.ts';
import { openKey } from './keystore.ts';

export interface TicketOptions {
  readonly dir: string;
  readonly signWith: readonly string[];
  readonly minutes: number;
  /** Writes a folder of answers, as `resultity config verify --from` and any web server take it. */
  readonly answers?: string | undefined;
}

/**
 * Signs a ticket for what is published, by hand: for a service whose ticket key is lost or that serves files only. Prints
 * the answer of GET /v1/config, or writes the whole folder of answers.
 * @throws CodedError `wrong_key`, a refusal's code when a node would refuse it
 */
export const signTicketByHand = async (
  options: TicketOptions,
  password: () => Promise<Secret>,
  io: Io,
): Promise<void> => {
  const { dir } = options;
  const roots = await readRoots(dir);
  const root = roots.at(-1) ?? roots[0];
  const current = await readPublication(dir, 'current');
  if (!current) throw new CodedError('bad_usage', `${dir} holds no publication/current.json: publish first`);
  if (options.minutes < 1 || options.minutes > 60) throw new CodedError('bad_usage', '--minutes is 1 … 60');
  const ticket = makeTicket(current.snapshot, io.now(), options.minutes * 60_000);
  const domain = domainOfRoot(root.document);
  const role = root.document.roles.ticket;
  const entries: SignatureEntry[] = [];
  for (const path of await keyFiles(dir, 'ticket', options.signWith)) {
    const signer = await openKey(path, password);
    if (role.keys.includes(signer.address)) entries.push(signTicket(domain, ticket, signer));
    else if (options.signWith.length > 0)
      throw new CodedError('wrong_key', `${path} is no ticket key of root v${root.version}`);
  }
  const answer = configAnswer({
    snapshot: current.snapshot,
    snapshotSignatures: current.snapshotSignatures as SignatureEntry[],
    ticket,
    ticketSignatures: entries,
  });
  // what is given out is checked as a node will check it
  const bytes = Buffer.from(current.document);
  const outcome = await verifyPublication({ roots: roots.map((r) => r.answer), answer, bytes, now: io.now() });
  if (outcome.kind === 'refused') throw new CodedError(outcome.code, outcome.message);
  if (options.answers === undefined) return io.out(answer);
  await mkdir(join(options.answers, 'v1/config'), { recursive: true });
  await mkdir(join(options.answers, 'v1/roots'), { recursive: true });
  for (const { version, answer: text } of roots)
    await writeDurably(join(options.answers, `v1/roots/${version}.json`), text);
  await writeDurably(join(options.answers, 'v1/config', current.snapshot.digest.replace(':', '-')), bytes);
  await writeDurably(join(options.answers, 'v1/config.json'), answer);
  io.out(
    `ticket for v${ticket.version} until ${new Date(ticket.expiresAt).toISOString()}; answers in ${options.answers}`,
  );
};
