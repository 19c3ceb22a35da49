import { Argument, Command, InvalidArgumentError, Option } from 'commander';
import { initNetwork } from './init.ts';
import { type Io, readPassword } from './io.ts';
import { SCRYPT_N } from './keystore.ts';
import { exportLedger } from './ledger-export.ts';
import { describeModel } from './model.ts';
import { NODE_ACTIONS, type NodeOptions, nodeOrder } from './node.ts';
import { addPublishing } from './publishing.ts';
import { type ServeOptions, serve } from './serve.ts';
import { verifyLedger } from './verify-ledger.ts';

/**
 * commands: the program `resultity-network` (docs/network-service.md).
 *
 * Reading order: init (keystore, certificates, manifests), model, publishing (root, publish with dry-run, impact and
 * try-models, ticket, diff, history; folder and remote are where they read), serve (tls-files renews its certificate), node, ledger-export, verify-ledger;
 * admin-client is a running service, io what they touch of the process. Each is a function of its options; this file and publishing alone know the command line.
 */
export const buildProgram = (io: Io, version: string): Command => {
  const program = new Command('resultity-network')
    .description('The reference IO service of a Resultity network')
    .version(version, '-V, --version', 'print the version')
    // `model describe --version v1` is the model's, not ours
    .enablePositionalOptions()
    .showHelpAfterError('(resultity-network --help shows what there is)');

  program
    .command('init')
    .description('make a private network: keys, root, certificates, Kubernetes manifests')
    .requiredOption('--dir <dir>', 'folder to make; must be new or empty')
    .requiredOption('--network <name>', 'the network’s name')
    .addOption(
      new Option('--environment <env>', 'testnet or mainnet').choices(['testnet', 'mainnet']).default('testnet'),
    )
    .requiredOption('--chain-id <n>', 'chain id of the signing domain', whole)
    .requiredOption('--endpoint <url>', 'https address under which nodes reach the service')
    .option('--san <names>', 'further names and addresses of the certificate, comma-separated', list, [])
    .option('--root-keys <n>', 'number of root keys', whole, 1)
    .option('--root-threshold <n>', 'root keys that must sign', whole, 1)
    .option('--config-keys <n>', 'number of config keys', whole, 3)
    .option('--config-threshold <n>', 'config keys that must sign', whole, 2)
    .option('--root-days <n>', 'days for which root v1 is valid', whole, 3650)
    .option('--tls-days <n>', 'days for which the certificates are valid', whole, 825)
    .option('--password-file <file>', 'first line is the password of the key files; asked for when left out')
    .addOption(new Option('--weak-scrypt-for-tests', 'encrypt key files so weakly that it is quick').default(false))
    .action(async ({ passwordFile, weakScryptForTests, san, ...options }) => {
      const password = await readPassword(passwordFile, `the key files in ${options.dir}`, true);
      await initNetwork({ ...options, sans: san, scryptN: weakScryptForTests ? 2 : SCRYPT_N }, password, io);
    });

  program
    .command('model')
    .description('models of the network’s own')
    .command('describe <folder>')
    .description('print the digest and the files of a model as the snapshot lists them')
    .requiredOption('--name <name>', 'model name')
    .requiredOption('--version <version>', 'model version')
    .action(async (folder: string, options) => {
      io.out(JSON.stringify(await describeModel(folder, options.name, options.version), null, 2));
    });

  addPublishing(program, io);

  program
    .command('serve')
    .description('run the service')
    .requiredOption('--data <dir>', 'folder of the ledger and of what was published')
    .requiredOption('--root <file>', 'the pinned root')
    .requiredOption('--key <file>', 'ticket and online key: hex, or a keystore')
    .option('--password-file <file>', 'password of --key when it is a keystore')
    .option('--tls-cert <file>', 'certificate chain, PEM')
    .option('--tls-key <file>', 'its key, PEM')
    .option('--listen <address>', 'ADDRESS:PORT', '0.0.0.0:8443')
    .requiredOption('--authority <host>', 'host[:port] under which nodes know the service; repeatable', collect, [])
    .option('--models <dir>', 'folder that is served under /models/')
    .option('--api-keys <file>', 'JSON {"keys":[{"id","sha256"|"key",…}]}')
    .addOption(
      new Option('--admission <policy>', 'who may register').choices(['open', 'token', 'allow-list']).default('open'),
    )
    .option('--enrolment <file>', 'JSON {"tokens":[{"sha256"|"token","email"?}]}')
    .option('--allow-list <file>', 'nodes, wallets and emails that may register, one a line')
    .option('--hold', 'a new node is pending until `node approve`', false)
    .option('--limits <file>', 'JSON with limits other than the defaults')
    .option('--grace <seconds>', 'on SIGTERM: time for running jobs to end', whole, 20)
    .option('--metrics-port <port>', 'port of /metrics, /healthz, /readyz', whole)
    .addOption(
      new Option('--log-level <level>').choices(['trace', 'debug', 'info', 'warn', 'error', 'silent']).default('info'),
    )
    .action((options: ServeOptions) => serve(options, io));

  program
    .command('node')
    .description('look at nodes of a running service, or give one an order')
    .addArgument(new Argument('<action>', 'what to do').choices(NODE_ACTIONS))
    .argument('[node]', 'the node, 0x…; `list` needs none')
    .requiredOption('--to <url>', 'the service')
    .option('--ca <file>', 'CA certificate of the service')
    .requiredOption('--token-file <file>', 'file whose first line is an API key with admin')
    .option('--state <state>', 'list: only nodes in this state')
    .option('--reason <text>', 'why, told to the node')
    .option('--grace-ms <n>', 'drain, shutdown: time for what runs', whole)
    .option('--retry-after-ms <n>', 'drain, shutdown: when to come back', whole)
    .option('--incarnation <n>', 'incarnation: what it is set back to', whole, 0)
    .option('--json', 'print JSON', false)
    .action((action: string, node: string | undefined, options: NodeOptions) => nodeOrder(action, node, options, io));

  program
    .command('ledger')
    .description('what was computed, by whom, and what it is worth')
    .command('export')
    .description('print the ledger as NDJSON')
    .requiredOption('--data <dir>', 'the service’s data folder')
    .action((options: { data: string }) => exportLedger(options.data, io));
  program
    .command('verify-ledger')
    .description('check every signature of a ledger, and that no job has two accepted results')
    .requiredOption('--data <dir>', 'the service’s data folder')
    .requiredOption('--root <file>', 'the pinned root')
    .action((options: { data: string; root: string }) => verifyLedger(options.data, options.root, io));
  return program;
};

const whole = (text: string): number => {
  if (!/^[0-9]{1,15}$/.test(text)) throw new InvalidArgumentError('write a whole number');
  return Number(text);
};
const list = (text: string, before: readonly string[]): string[] => [
  ...before,
  ...text.split(',').filter((t) => t !== ''),
];
const collect = (text: string, before: readonly string[]): string[] => [...before, text];

export type { Io } from './io.ts';
