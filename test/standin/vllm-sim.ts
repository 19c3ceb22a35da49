#!/usr/bin/env node
/**
 * The program `vllm` of the image resultity-runtime-sim: `vllm serve DIR --uds SOCK --served-model-name NAME …`.
 * It prints the log lines by which the launcher knows vLLM's phases, then serves standin.ts on the socket.
 * Settings: RESULTITY_SIM_LOAD_MS (load time), RESULTITY_SIM_TOKEN_MS (per token), RESULTITY_SIM_MODE (a fault, standin.ts),
 * RESULTITY_SIM_CALL_LOG (NDJSON file), RESULTITY_SIM_SAY (text put in front of the answer, so that a test inference can expect something).
 */
import { existsSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { isMode, startStandin } from './standin.ts';

const say = (line: string): void => {
  process.stdout.write(`INFO ${new Date().toISOString()} [resultity-runtime-sim] ${line}\n`);
};
const die = (line: string, code: number): never => {
  process.stderr.write(`${line}\n`);
  process.exit(code);
};

/** vLLM's command line, as far as the stand-in cares: `--key value`, `--key=value`, bare switches. */
const parse = (argv: string[]): { dir: string; flags: Map<string, string> } => {
  if (argv[0] === '--version') die('0.32.0+sim', 0);
  if (argv[0] !== 'serve' || argv[1] === undefined) die('usage: vllm serve DIR --uds SOCK --served-model-name NAME', 2);
  const flags = new Map<string, string>();
  for (let i = 2; i < argv.length; i++) {
    const [key = '', inline] = (argv[i] ?? '').split(/=(.*)/s);
    if (!key.startsWith('--')) die(`vllm: error: unrecognized arguments: ${key}`, 2);
    const next = argv[i + 1];
    if (inline !== undefined) flags.set(key.slice(2), inline);
    else if (next !== undefined && !next.startsWith('--')) flags.set(key.slice(2), argv[++i] ?? '');
    else flags.set(key.slice(2), 'true');
  }
  return { dir: argv[1] ?? '', flags };
};

const main = async (): Promise<void> => {
  const env = process.env;
  const { dir, flags } = parse(process.argv.slice(2));
  const socketPath = flags.get('uds') ?? die('this stand-in serves only --uds', 2);
  if (!existsSync(dir) || !statSync(dir).isDirectory())
    die(`OSError: ${dir} does not appear to have a file named config.json`, 1);
  const mode = env.RESULTITY_SIM_MODE ?? 'ok';
  if (!isMode(mode)) return die(`unknown RESULTITY_SIM_MODE ${mode}`, 2);
  const step = Number(env.RESULTITY_SIM_LOAD_MS ?? '300') / 3;
  say('this is a stand-in, not a model');
  say('Starting to load model');
  await sleep(step);
  if (mode === 'oom') die('torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.', 1);
  if (mode === 'crash-at-start') die('RuntimeError: Engine core initialization failed.', 1);
  say('Dynamo bytecode transform time: 0.00 s (torch.compile)');
  await sleep(step);
  say('Capturing CUDA graphs (decode)');
  await sleep(step);
  const server = await startStandin({
    socketPath,
    model: flags.get('served-model-name') ?? dir,
    slots: Number(flags.get('max-num-seqs') ?? '16'),
    maxModelLen: Number(flags.get('max-model-len') ?? '2048'),
    tokenMs: Number(env.RESULTITY_SIM_TOKEN_MS ?? '5'),
    mode,
    ...(env.RESULTITY_SIM_CALL_LOG ? { callLog: env.RESULTITY_SIM_CALL_LOG } : {}),
    ...(env.RESULTITY_SIM_SAY ? { say: env.RESULTITY_SIM_SAY } : {}),
    onCrash: (code) => die('RuntimeError: the stand-in was told to crash', code),
  });
  say('Application startup complete.');
  for (const name of ['SIGTERM', 'SIGINT'] as const)
    process.once(name, () => {
      say(`${name}: shutting down`);
      void server.close().then(() => process.exit(0));
    });
};

await main();
