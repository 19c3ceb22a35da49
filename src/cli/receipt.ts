import { Command } from 'commander';
import { request } from 'undici';
import { httpSource, onlineKeys, receiptAuthorities, type TrustedRoot } from '../config/index.ts';
import { CodedError, errorText } from '../lib/errors.ts';
import {
  type Address,
  checksumAddress,
  domainOf,
  parseStrictJson,
  type ReceiptCheck,
  type ReceiptPair,
  verifyReceipt,
  verifyStruct,
  zReceipts,
} from '../protocol/index.ts';
import { dispatcherFor } from './http.ts';
import { type Io, readNamedFile, SaidNo, UsageError } from './program.ts';
import { verifiedRoots } from './roots.ts';
import { paint } from './table.ts';

interface Flags {
  readonly root?: string[];
  readonly state?: string;
  readonly output?: string;
  readonly endpoint?: string;
  readonly apiKeyFile?: string;
  readonly ca?: string;
}

/** `resultity receipt verify`: proves offline who computed an answer and that the network took it. */
export const receiptCommand = (io: Io): Command => {
  const receipt = new Command('receipt').description('signed results and receipts of jobs');
  receipt
    .command('verify')
    .description('verify a job’s result and receipt against the network’s roots; exit 1 when any check fails')
    .argument(
      '<file|jobid>',
      'the answer of GET /v1/receipts/<jobId> as a file, - for stdin, or a job id with --endpoint',
    )
    .option('--root <file...>', 'the pinned root, and later ones if the receipt names one')
    .option('--state <dir>', 'a state folder that holds verified roots')
    .option('--output <file>', 'the answer’s text, byte for byte, to compare with the signed hash')
    .option('--endpoint <url>', 'fetch the receipts, and later roots, from this network')
    .option('--api-key-file <file>', 'the API key that the job was asked with')
    .option('--ca <file>', 'CA bundle (PEM) for the network’s TLS certificate')
    .action((what: string, flags: Flags) => verify(what, flags, io));
  return receipt;
};

const MAX_ANSWER_BYTES = 1_048_576;

const verify = async (what: string, flags: Flags, io: Io): Promise<void> => {
  const { text, roots } =
    flags.endpoint === undefined ? await offline(what, flags, io) : await online(what, flags, flags.endpoint);
  const parsed = zReceipts.safeParse(parseStrictJson(text));
  if (!parsed.success) throw new CodedError('bad_receipts', `${what} is no answer of GET /v1/receipts/<jobId>`);
  const { jobId, receipts } = parsed.data;
  if (receipts.length === 0)
    throw new CodedError('no_receipts', `job ${jobId} has no receipts yet: try again once it has ended`);
  const output = flags.output === undefined ? undefined : await readNamedFile(flags.output, 'the output');
  const accepted = receipts.filter((r) => r.receipt.verdict === 'accepted');
  const compared = accepted.length > 0 ? accepted : receipts;
  let ok = true;
  for (const pair of receipts) ok = report(jobId, pair, roots, compared.includes(pair) ? output : undefined, io) && ok;
  if (!ok) throw new SaidNo();
};

const offline = async (
  what: string,
  flags: Flags,
  io: Io,
): Promise<{ text: string; roots: readonly TrustedRoot[] }> => {
  const roots = await verifiedRoots(flags);
  if (what === '-') return { text: await io.stdin(), roots };
  try {
    return { text: await readNamedFile(what, 'the receipts'), roots };
  } catch (error) {
    throw new UsageError(`${errorText(error)}; for a job id, say --endpoint URL and --api-key-file FILE`);
  }
};

const online = async (
  jobId: string,
  flags: Flags,
  endpoint: string,
): Promise<{ text: string; roots: readonly TrustedRoot[] }> => {
  if (!/^https?:\/\//i.test(endpoint) || !URL.canParse(endpoint))
    throw new UsageError(`--endpoint "${endpoint.slice(0, 100)}" is no http(s) URL`);
  if (flags.apiKeyFile === undefined)
    throw new UsageError('receipts are shown only to the key that asked: add --api-key-file FILE');
  const key = (await readNamedFile(flags.apiKeyFile, 'the API key')).trim();
  const dispatcher = await dispatcherFor(flags.ca);
  try {
    const roots = await verifiedRoots(flags, httpSource({ endpoint, dispatcher }));
    const url = `${endpoint.replace(/\/+$/, '')}/v1/receipts/${encodeURIComponent(jobId)}`;
    const answer = await request(url, {
      dispatcher,
      headers: { authorization: `Bearer ${key}` },
      signal: AbortSignal.timeout(20_000),
    }).catch((error: unknown) => {
      throw new CodedError('unreachable', `${url} cannot be reached (${errorText(error)})`);
    });
    if (answer.statusCode !== 200) {
      await answer.body.dump();
      throw new CodedError('unreachable', refusalText(answer.statusCode, jobId, endpoint));
    }
    let text = '';
    for await (const part of answer.body.setEncoding('utf8')) {
      text += part;
      if (text.length > MAX_ANSWER_BYTES)
        throw new CodedError('too_large', `${url} answered more than ${MAX_ANSWER_BYTES} bytes`);
    }
    return { text, roots };
  } finally {
    await dispatcher.destroy();
  }
};

const refusalText = (status: number, jobId: string, endpoint: string): string => {
  if (status === 401) return `${endpoint} does not know this API key: check --api-key-file`;
  if (status === 404) return `${endpoint} knows no job ${jobId} of this API key: check the id and the key`;
  return `${endpoint} answered ${status}; try again`;
};

const timeText = (ms: number): string => {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? `${ms} ms` : date.toISOString().replace('.000Z', 'Z');
};

const short = (address: Address): string => {
  const full = checksumAddress(address);
  return `${full.slice(0, 6)}…${full.slice(-4)}`;
};

/** Writes one result's lines. @returns true when every check held */
const report = (
  jobId: string,
  pair: ReceiptPair,
  roots: readonly TrustedRoot[],
  output: string | undefined,
  io: Io,
): boolean => {
  const document = roots[0]?.document;
  if (document === undefined) return false;
  const domain = domainOf(document.network, document.chainId);
  const checks = verifyReceipt(domain, pair, receiptAuthorities(roots), output);
  const own: ReceiptCheck[] = [
    { name: 'joined', ok: pair.result.jobId === jobId, text: `the result is of job ${pair.result.jobId}` },
    {
      name: 'receipt',
      ok: verifyStruct(domain, 'JobReceipt', pair.receipt, pair.sig, pair.signer),
      text: 'is not signed by whom it names',
    },
  ];
  const { result, receipt } = pair;
  const root = roots.find((r) => r.version === receipt.rootVersion);
  const role = root?.document.roles.online ? 'online' : 'ticket';
  const named =
    root && onlineKeys(root).includes(pair.signer) ? `${role} key of root v${receipt.rootVersion}` : 'unknown key';
  const failed = (...names: ReceiptCheck['name'][]): ReceiptCheck | undefined =>
    [...checks, ...own].find((c) => names.includes(c.name) && !c.ok);
  const rows: [string, string, ReceiptCheck | undefined, string][] = [
    ['result', `signed by ${short(result.node)}`, failed('result'), 'valid'],
    [
      'receipt',
      `${receipt.verdict} ${timeText(receipt.receivedAt)}, signed by ${short(pair.signer)} (${named})`,
      failed('receipt', 'joined', 'time'),
      'valid',
    ],
    [
      'output',
      `sha256 ${result.outputHash.slice(7, 11)}…, ${result.promptTokens} + ${result.completionTokens} tokens`,
      failed('output'),
      output === undefined ? 'not compared (give --output FILE)' : 'matches',
    ],
  ];
  const width = Math.max(...rows.map(([, text]) => text.length)) + 2;
  io.out(`job ${result.jobId}  attempt ${result.attempt}  model ${result.model}`);
  for (const [name, text, bad, good] of rows)
    io.out(
      `${name.padEnd(9)}${text.padEnd(width)}${bad ? paint(io, 'red', `INVALID: ${bad.text}`) : paint(io, 'green', good)}`,
    );
  return rows.every(([, , bad]) => bad === undefined);
};
