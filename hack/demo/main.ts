/**
 * `npm run demo`: from nothing to a verified answer, on a real Kubernetes with real pods. See README.md.
 *   -- --runtime sim      the engine's stand-in instead of vLLM (two minutes, 2 GB less memory)
 *   -- --keep             leave everything up afterwards
 *   -- --down             remove everything that a kept demo left
 *   -- --context NAME --registry HOST   on a cluster that exists
 */
import { parseArgs } from 'node:util';
import { formatElapsed, requireRoot, terminalProgress } from '../lib/index.ts';
import { runDemo } from './run.ts';
import { CLUSTER, downOwnCluster, markKept, otherCluster, ownCluster } from './target.ts';
import { uninstall } from './uninstall.ts';

const { values } = parseArgs({
  options: {
    runtime: { type: 'string', default: 'vllm' },
    keep: { type: 'boolean', default: false },
    down: { type: 'boolean', default: false },
    context: { type: 'string' },
    registry: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
const usage = `usage: npm run demo -- [--runtime vllm|sim] [--keep | --down] [--context NAME --registry HOST]

  From nothing to a verified answer: a Kubernetes, the chart, a private network, one node, one question.

  --runtime sim      the engine's stand-in instead of vLLM: quick, and says what it is (default vllm, on the CPU)
  --keep             leave everything up, and print what to try
  --down             remove everything that a kept demo left
  --context NAME     on a cluster that exists, by its kubeconfig context; needs kubectl and helm on the PATH
  --registry HOST    with --context: a registry that the cluster pulls from and this machine may push to`;
const progress = terminalProgress(process.stdout);
const fail = (message: string): never => {
  process.stderr.write(`demo: ${message}\n`);
  process.exit(1);
};
if (values.help) {
  process.stdout.write(`${usage}\n`);
  process.exit(0);
}
const runtime = values.runtime;
if (runtime !== 'vllm' && runtime !== 'sim') fail(`--runtime ${runtime} is unknown: write vllm or sim\n${usage}`);
if ((values.context === undefined) !== (values.registry === undefined))
  fail('--context and --registry belong together: the cluster, and a registry that it pulls from');

const started = performance.now();
try {
  if (values.context === undefined) requireRoot('a cluster of its own');
  if (values.down && values.context === undefined) {
    await downOwnCluster(progress, CLUSTER, true);
  } else {
    const target = values.context
      ? await otherCluster(values.context, values.registry ?? '')
      : await ownCluster(progress);
    const leave = !values.down && (values.keep || target.found);
    let stopping: Promise<void> | undefined;
    const stop = (): Promise<void> => {
      if (leave && target.cluster) markKept();
      stopping ??= leave
        ? Promise.resolve()
        : values.context === undefined
          ? target.down()
          : uninstall(target, progress);
      return stopping;
    };
    const interrupted = (): void => {
      void stop().finally(() => process.exit(130));
    };
    process.once('SIGINT', interrupted).once('SIGTERM', interrupted);
    try {
      if (!values.down) await runDemo(target, runtime as 'vllm' | 'sim', leave, progress);
    } finally {
      await stop();
    }
  }
  progress.line(`done in ${formatElapsed(performance.now() - started)}`);
} catch (error) {
  fail(error instanceof Error ? error.message : String(error));
}
