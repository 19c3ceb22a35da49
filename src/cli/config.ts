import { Command } from 'commander';
import {
  type ConfigSource,
  FileStateStore,
  folderSource,
  httpSource,
  resetFloor,
  updateConfig,
} from '../config/index.ts';
import { isCoded } from '../lib/errors.ts';
import { REFUSALS } from '../protocol/index.ts';
import { dispatcherFor } from './http.ts';
import { type Io, parseFloor, parseTime, readNamedFile, SaidNo, UsageError } from './program.ts';

interface VerifyFlags {
  readonly root: string;
  readonly state: string;
  readonly from: string;
  readonly now?: number;
  readonly network?: string;
  readonly environment?: string;
  readonly ca?: string;
}

/** `resultity config verify|reset`: the verifier that agent and operator use, for people and for other test suites. */
export const configCommand = (io: Io): Command => {
  const config = new Command('config').description('signed configuration: verify, compare, hold and release nodes');
  config
    .command('verify')
    .description('fetch, verify and make durable: exit 0 accepted, exit 1 with "refused <code>: <text>" on stderr')
    .requiredOption('--root <file>', 'the pinned root, in the form of GET /v1/roots/<n>')
    .requiredOption('--state <dir>', 'the state folder: floor, roots, accepted snapshots')
    .requiredOption('--from <url|dir>', 'the network, or a folder with v1/config.json, v1/config/ and v1/roots/')
    .option('--now <time>', 'judge as of this time, ISO 8601 (default: now)', parseTime)
    .option('--network <name>', 'refuse a root of another network')
    .option('--environment <testnet|mainnet>', 'refuse a root of another environment')
    .option('--ca <file>', 'CA bundle (PEM) for the network’s TLS certificate')
    .action((flags: VerifyFlags) => verify(flags, io));
  config
    .command('reset')
    .description('set a new floor by hand: only versions above it are accepted then')
    .requiredOption('--state <dir>', 'the state folder')
    .requiredOption('--floor <epoch,version>', 'for example 1,41', parseFloor)
    .option('--root <file>', 'the pinned root, where the folder has neither a floor nor a root that can be read')
    .action((flags: { state: string; floor: { epoch: number; version: number }; root?: string }) => reset(flags, io));
  return config;
};

const verify = async (flags: VerifyFlags, io: Io): Promise<void> => {
  const { environment } = flags;
  if (environment !== undefined && environment !== 'testnet' && environment !== 'mainnet')
    throw new UsageError(`--environment is testnet or mainnet, not "${environment.slice(0, 40)}"`);
  const pinnedRoot = await readNamedFile(flags.root, 'the root');
  const source = await sourceOf(flags);
  try {
    const outcome = await updateConfig({
      pinnedRoot,
      network: flags.network,
      environment,
      store: new FileStateStore(flags.state),
      source: source.source,
      now: flags.now ?? io.now(),
      signal: io.signal,
    });
    if (outcome.kind === 'refused') return refused(io, outcome.code, outcome.message);
    const { config, changed } = outcome;
    io.out(
      `accepted ${config.document.network} epoch ${config.epoch} version ${config.version} ${config.digest} (root v${config.root.version}${changed ? '' : ', unchanged'})`,
    );
    for (const model of config.document.failedModels) io.err(`model ${model.ref} is Failed: ${model.reason}`);
  } finally {
    await source.close();
  }
};

const sourceOf = async (flags: VerifyFlags): Promise<{ source: ConfigSource; close: () => Promise<void> }> => {
  if (!/^https?:\/\//i.test(flags.from)) {
    if (/^[a-z][a-z0-9+.-]*:\/\//i.test(flags.from)) throw new UsageError('--from takes an http(s) URL or a folder');
    return { source: folderSource(flags.from), close: async () => {} };
  }
  if (!URL.canParse(flags.from)) throw new UsageError(`--from "${flags.from.slice(0, 100)}" is no URL`);
  const dispatcher = await dispatcherFor(flags.ca);
  return { source: httpSource({ endpoint: flags.from, dispatcher }), close: () => dispatcher.destroy() };
};

const reset = async (
  flags: { state: string; floor: { epoch: number; version: number }; root?: string },
  io: Io,
): Promise<void> => {
  const pinned = flags.root === undefined ? undefined : await readNamedFile(flags.root, 'the root');
  try {
    const floor = await resetFloor(new FileStateStore(flags.state), flags.floor, pinned);
    io.out(
      `floor of ${floor.network} set to epoch ${floor.epoch} version ${floor.version}: only versions above it are accepted`,
    );
  } catch (error) {
    if (!isCoded(error, ...REFUSALS)) throw error;
    refused(io, error.code, error.message);
  }
};

/** The line that other programs read: always the last on stderr. */
const refused = (io: Io, code: string, text: string): never => {
  io.err(`refused ${code}: ${text.replaceAll(/\s+/g, ' ')}`);
  throw new SaidNo();
};
