/**
 * `bash hack/run record`: runs the plugin on the demo (with the engine's stand-in) and writes every command with what it
 * printed to docs/plugin-session.md. Uses a demo that was kept, else brings one up and takes it down again.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { NODE_NAMESPACE } from './demo/names.ts';
import { firstModel, publish, secondModel, serveModel } from './demo/publish.ts';
import { applyManifests, type Installed, install } from './demo/run.ts';
import { pluginBin } from './demo/shell.ts';
import { QUESTION } from './demo/snapshot.ts';
import { ownCluster, type Target } from './demo/target.ts';
import { waitForNode } from './demo/wait.ts';
import { exec, repoRoot, requireRoot, terminalProgress } from './lib/index.ts';

/** A line of prose, a command as a person types it, or something that happens beside it. */
type Step = { readonly say: string } | { readonly run: string } | { readonly happen: () => Promise<unknown> };

const HEAD = `# The plugin in use

A recording, made by \`bash hack/run record\` (\`hack/record.ts\`) on the demo's cluster: a real Kubernetes, real pods, the engine's stand-in. Each command was typed into bash as it stands here, and what it wrote to stdout and stderr follows. Names of the machine's own folders are shown as \`~\`; nothing else was changed. [cli.md](cli.md) explains the commands.
`;

/** The session. Prepared beforehand: root.json, the answer of one job with its receipts, and a file with a passphrase. */
const session = (target: Target, installed: Installed, home: string): readonly Step[] => {
  const k = (...args: string[]): Promise<string> => target.kubectl(['-n', NODE_NAMESPACE, ...args]);
  const apply = (manifest: object): Promise<string> =>
    target.kubectl(['-n', NODE_NAMESPACE, 'apply', '-f', '-'], stringify(manifest));
  const ask = (): Promise<void> =>
    installed.withApi(async (api) => {
      await api.ask({ model: installed.model, ...QUESTION }, true);
      const answer = await api.ask({ model: installed.model, ...QUESTION }, false);
      writeFileSync(join(home, 'receipts.json'), await api.receipts(answer.job));
      writeFileSync(join(home, 'answer.txt'), answer.output ?? '');
    });
  const publishSecond = async (): Promise<void> => {
    await serveModel(target.dir, secondModel('sim'), terminalProgress());
    const before = await k('get', 'rnet', 'demo', '-o', 'jsonpath={.status.digest}');
    await publish(installed, [firstModel('sim'), secondModel('sim')]);
    while ((await k('get', 'rnet', 'demo', '-o', 'jsonpath={.status.digest}')) === before)
      await new Promise((resolve) => setTimeout(resolve, 500));
  };
  return [
    { say: '## At a glance\nOne private network and one node that serves. `-o wide` asks each agent itself.' },
    { happen: ask },
    { run: 'kubectl resultity status' },
    { run: 'kubectl resultity status -o wide' },
    { say: '`-o json` gives the objects, for programs.' },
    { run: 'kubectl resultity status -o json | grep -A4 -m1 \'"config": {\'' },
    { run: 'kubectl resultity models' },
    { say: 'A name that is not there, and a word that is no command:' },
    { run: 'kubectl resultity why-not demo-9' },
    { run: 'kubectl resultity drian demo-0' },
    {
      say: '## Why a node has no place\nA second node is applied; the machine has one GPU, and the first node holds it.',
    },
    {
      happen: () =>
        apply({
          apiVersion: 'resultity.com/v1alpha1',
          kind: 'ResultityNode',
          metadata: { name: 'demo-1' },
          spec: {
            networkRef: { name: 'demo' },
            owner: { email: 'you@example.com' },
            placement: { gpu: { accelerator: 'cpu', count: 1 } },
          },
        }),
    },
    { happen: () => k('wait', 'rnode/demo-1', '--for=jsonpath={.status.phase}', '--timeout=60s') },
    { happen: () => k('wait', 'rnode/demo-1', '--for=condition=GPUFit=False', '--timeout=10s').catch(() => '') },
    { run: 'kubectl resultity status' },
    { run: 'kubectl resultity why-not demo-1' },
    { run: 'kubectl resultity why-not demo-0' },
    { run: 'kubectl delete rnode demo-1' },
    { say: '## Logs\nOf agent and runtime, merged by time (cut at 150 characters here).' },
    { run: 'kubectl resultity logs demo-0 --tail 3 | cut -c1-150' },
    { run: 'kubectl resultity logs demo-0 -c runtime --tail 3 | cut -c1-150' },
    {
      say: '## A new configuration, held and released\nThe node is held; meanwhile the network publishes another model.',
    },
    { run: 'kubectl resultity config hold demo-0' },
    { happen: publishSecond },
    { run: 'kubectl resultity config diff demo-0' },
    { run: 'kubectl resultity config history' },
    { run: 'kubectl resultity config release demo-0' },
    {
      happen: async () => {
        const wanted = await k('get', 'rnet', 'demo', '-o', 'jsonpath={.status.digest}');
        await k('wait', 'rnode/demo-0', `--for=jsonpath={.status.agent.config.applied}=${wanted}`, '--timeout=120s');
        await k('wait', 'rnode/demo-0', '--for=condition=Ready', '--timeout=120s');
      },
    },
    { run: 'kubectl resultity config diff demo-0' },
    { run: 'kubectl resultity models' },
    { say: '## Orders\nEach waits until the node’s status says that it is done.' },
    { run: 'kubectl resultity pause demo-0' },
    { run: 'kubectl resultity status' },
    { run: 'kubectl resultity resume demo-0' },
    { run: 'kubectl resultity drain demo-0' },
    { run: 'kubectl resultity resume demo-0' },
    { run: 'kubectl resultity restart demo-0' },
    { say: '## The key of a node\nThe backup is encrypted with the passphrase and shown here only in its outline.' },
    { run: 'kubectl resultity identity export demo-0 --to demo-0.json --passphrase-file pass' },
    { run: 'stat -c \'%A %s bytes %n\' demo-0.json && grep -o \'"cipher":"[^"]*"\\|"kdf":"[^"]*"\' demo-0.json' },
    { say: 'What would overwrite a key is refused:' },
    { run: 'kubectl resultity identity import demo-0 --from demo-0.json --passphrase-file pass' },
    {
      say: '## Who computed this answer\n`receipts.json` is the answer of `GET /v1/receipts/<job>`, `answer.txt` the body that the caller got, `root.json` the pinned root. No cluster is asked.',
    },
    { run: 'kubectl resultity receipt verify receipts.json --root root.json --output answer.txt' },
    { say: 'The same after somebody changed the answer:' },
    { run: 'sed -i s/resultity/Resultity/ answer.txt' },
    { run: 'kubectl resultity receipt verify receipts.json --root root.json --output answer.txt' },
    { say: '## For somebody who cannot look at the cluster' },
    { run: 'kubectl resultity support-bundle --to bundle --tail 200' },
    { run: 'ls bundle && cat bundle/left-out.txt' },
    { say: '## Completion' },
    { run: "kubectl resultity completion bash | sed -n '1p;$p'" },
    {
      run: 'source <(kubectl resultity completion bash); COMP_WORDS=(kubectl-resultity config h) COMP_CWORD=2; _resultity; declare -p COMPREPLY',
    },
    { run: 'kubectl resultity version' },
  ];
};

/** A home folder with the plugin and a kubeconfig that points into the demo's namespace. */
const homeOf = async (target: Target, installed: Installed): Promise<{ home: string; env: NodeJS.ProcessEnv }> => {
  const home = mkdtempSync(join(tmpdir(), 'resultity-record-'));
  const bin = await pluginBin(home, true);
  const config = parse(readFileSync(target.cluster?.kubeconfig ?? '', 'utf8'));
  for (const { context } of config.contexts) context.namespace = NODE_NAMESPACE;
  writeFileSync(join(home, 'kubeconfig'), stringify(config), { mode: 0o600 });
  writeFileSync(join(home, 'root.json'), readFileSync(join(installed.dir, 'roots/1.json')));
  writeFileSync(join(home, 'pass'), 'only for the recording\n', { mode: 0o600 });
  const env = { PATH: `${bin}:${process.env.PATH}`, HOME: home, KUBECONFIG: join(home, 'kubeconfig'), LANG: 'C.UTF-8' };
  return { home, env };
};

const shown = (text: string, home: string): string =>
  text
    .replaceAll(home, '~')
    .replaceAll(repoRoot, '~')
    .replaceAll(new RegExp(`\\b${hostname()}\\b`, 'g'), 'machine')
    .replaceAll(/[ \t]+$/gm, '');

const record = async (target: Target): Promise<string> => {
  const progress = terminalProgress();
  const installed = await install(target, 'sim', progress);
  await applyManifests(target);
  await waitForNode(target, NODE_NAMESPACE, 'demo-0', 300_000, progress);
  const { home, env } = await homeOf(target, installed);
  const page = [HEAD];
  try {
    for (const step of session(target, installed, home)) {
      if ('say' in step) page.push(`${step.say}\n`);
      else if ('happen' in step) await step.happen();
      else {
        const { code, stdout } = await exec(['bash', '-o', 'pipefail', '-c', `exec 2>&1; ${step.run}`], {
          env,
          cwd: home,
        });
        progress.line(`$ ${step.run}${code === 0 ? '' : `   (exit ${code})`}`);
        page.push(
          `<!-- run by: hack/record.ts -->\n\`\`\`\n$ ${step.run}\n${shown(stdout, home).trimEnd()}\n\`\`\`\n`.replace(
            '\n\n```',
            '\n```',
          ),
        );
      }
    }
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
  return page.join('\n');
};

if (process.argv.includes('--help')) {
  process.stdout.write(
    'usage: bash hack/run record   (runs the plugin on the demo and writes docs/plugin-session.md)\n',
  );
  process.exit(0);
}
requireRoot('a cluster of its own');
const target = await ownCluster(terminalProgress());
try {
  writeFileSync(join(repoRoot, 'docs/plugin-session.md'), await record(target));
} finally {
  if (!target.found) await target.down();
}
