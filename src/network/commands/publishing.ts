import { type Command, InvalidArgumentError, Option } from 'commander';
import { CodedError } from '../../lib/errors.ts';
import { type Address, checksumAddress, zAddress, zSha256 } from '../../protocol/index.ts';
import type { RoleName } from './folder.ts';
import { showDiff, showHistory } from './history.ts';
import { type Io, readPassword } from './io.ts';
import { SCRYPT_N } from './keystore.ts';
import { publish } from './publish.ts';
import { changeRoot, type KeyChange, sendRoots, signNext } from './root.ts';
import { signTicketByHand } from './ticket.ts';

const ROLES: readonly RoleName[] = ['root', 'config', 'ticket', 'online'];
const PASSWORD = 'first line is the password of the key files; asked for when left out';

/** The signers' commands: root, publish, rollback, ticket, diff, history (docs/configuration.md). */
export const addPublishing = (program: Command, io: Io): void => {
  const root = program.command('root').description('who may sign what: the next root, from the newest');
  signing(root.command('add-key').description('make and sign root N+1 with one more key of a role'))
    .requiredOption('--role <role>', 'root, config, ticket or online', role)
    .option('--address <address>', 'the key’s address', address)
    .option('--new', 'make the key here, in keys/', false)
    .option('--threshold <n>', 'keys of the role that must sign from now on', whole)
    .action(async ({ role: name, address: to, new: made, threshold, ...options }) => {
      if ((to === undefined) !== made) throw new CodedError('bad_usage', 'give one of --address and --new');
      const thresholds = threshold === undefined ? [] : [{ role: name as RoleName, threshold: threshold as number }];
      await change({ ...options, keys: [{ role: name, to: made ? 'new' : to }], thresholds, raiseEpoch: false }, io);
    });
  signing(root.command('rotate').description('make and sign root N+1: keys, thresholds, expiry, epoch'))
    .option('--add <role=address>', 'add a key; ROLE=new makes one in keys/; repeatable', collect(add), [])
    .option('--remove <role=address>', 'remove a key; repeatable', collect(remove), [])
    .option('--replace <role=old,new>', 'replace a key; the second may be "new"; repeatable', collect(replace), [])
    .option('--threshold <role=n>', 'keys of the role that must sign; repeatable', collect(threshold), [])
    .option('--raise-epoch', 'begin a new epoch: versions start again at 1 (recovery from fast-forward)', false)
    .action(async ({ add: added, remove: removed, replace: replaced, threshold: thresholds, ...options }) => {
      await change({ ...options, keys: [...removed, ...replaced, ...added], thresholds }, io);
    });
  root
    .command('sign')
    .description('add signatures to the root that waits; it is finished at the thresholds of N and N+1')
    .requiredOption('--dir <dir>', 'the network’s folder')
    .option('--sign-with <keystore...>', 'key files to sign with; all of keys/root-*.json when left out', words, [])
    .option('--password-file <file>', PASSWORD)
    .action(async ({ passwordFile, ...options }) => {
      await signNext(options, () => readPassword(passwordFile, 'the root keys'), io);
    });
  root
    .command('send')
    .description('give the service every root after the pinned one')
    .requiredOption('--dir <dir>', 'the network’s folder')
    .requiredOption('--to <url>', 'the service')
    .option('--ca <file>', 'CA certificate of the service')
    .action((options: { dir: string; to: string; ca?: string }) => sendRoots(options, io));

  publication(program.command('publish').description('make, sign and upload the next configuration'))
    .option('--snapshot <file>', 'draft of the snapshot, YAML or JSON; without it, what waits is signed and sent')
    .option('--to <url>', 'the service to upload to')
    .option('--rollback-of <digest>', 'digest whose content comes back, for people to read', digest)
    .action(async ({ passwordFile, node, ...options }) => {
      await publish({ ...options, nodes: node }, () => readPassword(passwordFile, 'the config keys'), io);
    });
  publication(program.command('rollback').description('publish the content of an earlier version as the next one'))
    .requiredOption('--to <version>', 'VERSION or EPOCH,VERSION of what comes back')
    .option('--service <url>', 'the service to upload to')
    .action(async ({ passwordFile, node, to, service, ...options }) => {
      const flags = { ...options, nodes: node, rollbackTo: to as string, to: service as string | undefined };
      await publish(flags, () => readPassword(passwordFile, 'the config keys'), io);
    });

  program
    .command('ticket')
    .description('sign a ticket by hand for what is published')
    .requiredOption('--dir <dir>', 'the network’s folder')
    .option('--sign-with <key...>', 'ticket key files; all of keys/ticket* when left out', words, [])
    .option('--minutes <n>', 'how long it holds, at most 60', whole, 60)
    .option('--answers <dir>', 'write the folder of answers (v1/config.json, v1/config/, v1/roots/)')
    .option('--password-file <file>', PASSWORD)
    .action(async ({ passwordFile, ...options }) => {
      await signTicketByHand(options, () => readPassword(passwordFile, 'the ticket key'), io);
    });
  program
    .command('diff')
    .description('what changes from A to B: "current", "next", VERSION, EPOCH,VERSION, or a file')
    .argument('<a>')
    .argument('<b>')
    .requiredOption('--dir <dir>', 'the network’s folder')
    .action((a: string, b: string, { dir }: { dir: string }) => showDiff(dir, a, b, io));
  program
    .command('history')
    .description('roots and configurations: digests, signers, dates')
    .requiredOption('--dir <dir>', 'the network’s folder')
    .action(({ dir }: { dir: string }) => showHistory(dir, io));
};

const signing = (command: Command): Command =>
  command
    .requiredOption('--dir <dir>', 'the network’s folder')
    .option('--days <n>', 'days for which the new root is valid', whole, 3650)
    .option('--sign-with <keystore...>', 'key files to sign with; all of keys/root-*.json when left out', words, [])
    .option('--password-file <file>', PASSWORD)
    .addOption(
      new Option('--weak-scrypt-for-tests', 'encrypt new key files so weakly that it is quick').default(false),
    );

const publication = (command: Command): Command =>
  command
    .requiredOption('--dir <dir>', 'the network’s folder')
    .option('--sign-with <keystore...>', 'key files to sign with; all of keys/config-*.json when left out', words, [])
    .option('--ca <file>', 'CA certificate of the service')
    .option('--days <n>', 'days for which the snapshot is valid', whole, 90)
    .option('--password-file <file>', PASSWORD)
    .option('--try <engine...>', 'engine (socket or URL) that must pass each active model’s test first', words, [])
    .option('--dry-run', 'show what and which nodes would change; sign, write and send nothing', false)
    .option('--node <id...>', 'nodes that the dry run asks the service about', nodes, [])
    .option('--token-file <file>', 'file with an API key that has admin: the dry run shows every node');

interface ChangeFlags {
  readonly dir: string;
  readonly keys: readonly KeyChange[];
  readonly thresholds: readonly { readonly role: RoleName; readonly threshold: number }[];
  readonly days: number;
  readonly raiseEpoch: boolean;
  readonly signWith: readonly string[];
  readonly passwordFile?: string | undefined;
  readonly weakScryptForTests: boolean;
}

const change = ({ passwordFile, weakScryptForTests, ...flags }: ChangeFlags, io: Io): Promise<void> =>
  changeRoot(
    { ...flags, scryptN: weakScryptForTests ? 2 : SCRYPT_N },
    () => readPassword(passwordFile, 'the root keys'),
    io,
  );

const wrong = (message: string): never => {
  throw new InvalidArgumentError(message);
};
const whole = (text: string): number => (/^[0-9]{1,15}$/.test(text) ? Number(text) : wrong('write a whole number'));
const words = (text: string, before: readonly string[]): string[] => [...before, text];
const collect =
  <T>(read: (text: string) => T) =>
  (text: string, before: readonly T[]): T[] => [...before, read(text)];
const digest = (text: string): string =>
  zSha256.safeParse(text).success ? text : wrong('write sha256: and 64 hex digits');
const role = (text: string): RoleName => ROLES.find((r) => r === text) ?? wrong(`a role is ${ROLES.join(', ')}`);
/** Lower case, or with a checksum that holds: a mistyped key would lock its owner out. */
const address = (text: string): Address => {
  const lower = zAddress.safeParse(text.toLowerCase());
  if (!lower.success) return wrong('write 0x and 40 hex digits');
  return text === lower.data || text === checksumAddress(lower.data)
    ? lower.data
    : wrong('the checksum of this address does not hold');
};
const nodes = (text: string, before: readonly string[]): string[] => [...before, address(text)];

const pair = (text: string): readonly [RoleName, string] => {
  const at = text.indexOf('=');
  return at < 0 ? wrong('write ROLE=…') : [role(text.slice(0, at)), text.slice(at + 1)];
};
const newOr = (text: string): Address | 'new' => (text === 'new' ? text : address(text));
const add = (text: string): KeyChange => {
  const [name, key] = pair(text);
  return { role: name, to: newOr(key) };
};
const remove = (text: string): KeyChange => {
  const [name, key] = pair(text);
  return { role: name, from: address(key) };
};
const replace = (text: string): KeyChange => {
  const [name, keys] = pair(text);
  const [from = '', to = ''] = keys.split(',');
  return { role: name, from: address(from), to: newOr(to) };
};
const threshold = (text: string): { role: RoleName; threshold: number } => {
  const [name, n] = pair(text);
  return { role: name, threshold: whole(n) };
};
