import { parseArgs } from 'node:util';
import { terminalProgress } from '../lib/index.ts';
import { clusterDown, clusterStatus, clusterUp, findCluster, type Profile, SAMPLE_DEVICES } from './index.ts';

const USAGE = `usage: npm run cluster -- COMMAND [options]

  up          bring up a real Kubernetes on this machine (or return the one that runs)
  down        stop it and remove what it made; --purge removes the unpacked images too
  status      what runs
  kubeconfig  print the path of the administrator's kubeconfig

  --name NAME        name of the cluster (default dev); clusters of different names run side by side
  --state DIR        state folder (default \${XDG_STATE_HOME:-~/.local/state}/resultity/NAME)
  --profile PROFILE  node (default, needs root), control-plane, or api (API server and etcd alone)
  --real-nodes N     real nodes, 1 (default) or 2
  --fake-nodes N     add N simulated GPU nodes
  --gpus N           GPUs that each real node advertises (default 2)
  --device-plugin    two made-up devices, ${SAMPLE_DEVICES.resourceName}, of a device plug-in on the first real node`;

function count(text: string | undefined, option: string): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d{1,4}$/.test(text)) throw new Error(`${option}: give a number from 0 to 9999, not ${JSON.stringify(text)}`);
  return Number(text);
}

async function main(argv: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: {
      name: { type: 'string' },
      state: { type: 'string' },
      profile: { type: 'string' },
      'real-nodes': { type: 'string' },
      'fake-nodes': { type: 'string' },
      gpus: { type: 'string' },
      'device-plugin': { type: 'boolean' },
      purge: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  const where = { ...(values.name && { name: values.name }), ...(values.state && { stateDir: values.state }) };
  const progress = terminalProgress();
  const command = positionals[0];
  if (values.help || positionals.length !== 1) {
    console.log(USAGE);
    return values.help ? 0 : 2;
  }
  switch (command) {
    case 'up': {
      const profile = values.profile ?? 'node';
      if (profile !== 'node' && profile !== 'control-plane' && profile !== 'api') {
        throw new Error(`--profile: give node, control-plane or api, not ${JSON.stringify(profile)}`);
      }
      const fakeNodes = count(values['fake-nodes'], '--fake-nodes');
      const realNodes = count(values['real-nodes'], '--real-nodes') ?? 1;
      if (realNodes !== 1 && realNodes !== 2) throw new Error(`--real-nodes: give 1 or 2, not ${realNodes}`);
      const gpus = count(values.gpus, '--gpus');
      const cluster = await clusterUp({
        ...where,
        profile: profile satisfies Profile,
        progress,
        realNodes,
        ...(fakeNodes !== undefined && { fakeNodes }),
        ...(gpus !== undefined && { gpus }),
        devicePlugin: values['device-plugin'] ?? false,
      });
      progress.line(`Kubernetes answers at ${cluster.server}`);
      if (profile === 'node')
        progress.line(`images: push to ${cluster.registry.url}, pods pull from ${cluster.registry.pull}`);
      progress.line(`try: ${cluster.program('kubectl')} --kubeconfig ${cluster.kubeconfig} get nodes`);
      return 0;
    }
    case 'down':
      await clusterDown({ ...where, progress, purge: values.purge ?? false });
      return 0;
    case 'status': {
      const status = clusterStatus(where);
      console.log(
        `cluster ${status.name}: ${status.phase}${status.server ? ` (${status.profile}, ${status.server})` : ''}`,
      );
      for (const [program, ok] of Object.entries(status.programs)) console.log(`  ${ok ? '✓' : '✗'} ${program}`);
      return status.phase === 'up' ? 0 : 1;
    }
    case 'kubeconfig': {
      const cluster = findCluster(where);
      if (!cluster) throw new Error('the cluster is not up; start it with: npm run cluster -- up');
      console.log(cluster.kubeconfig);
      return 0;
    }
    default:
      throw new Error(`no command ${JSON.stringify(command)}\n${USAGE}`);
  }
}

main(process.argv.slice(2)).then(
  (code) => process.exit(code),
  (error: unknown) => {
    console.error(error instanceof Error ? error.message : error);
    process.exit(1);
  },
);
