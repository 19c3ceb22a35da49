/**
 * `bash hack/run images --registry HOST`: builds the image of operator, agents and network service without a container
 * engine, pushes it, and prints how the chart names it. For registries that take pushes without a login; `--cluster NAME`
 * is the one of a cluster of `npm run cluster`.
 */
import { parseArgs } from 'node:util';
import { findCluster } from '../cluster/index.ts';
import { terminalProgress } from '../lib/index.ts';
import { buildResultityImage, type RegistryTarget } from './index.ts';

const { values } = parseArgs({
  options: {
    registry: { type: 'string' },
    insecure: { type: 'boolean', default: false },
    cluster: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
const usage = 'usage: bash hack/run images (--registry HOST[:PORT] [--insecure] | --cluster NAME)\n';

const chosen = (): RegistryTarget | undefined => {
  if (values.cluster !== undefined) return findCluster({ name: values.cluster })?.registry;
  if (values.registry === undefined) return undefined;
  return { url: `${values.insecure ? 'http' : 'https'}://${values.registry}`, pull: values.registry };
};

const registry = chosen();
if (values.help || registry === undefined) {
  process.stderr.write(values.cluster === undefined ? usage : `images: no cluster ${values.cluster} runs\n${usage}`);
  process.exit(values.help ? 0 : 2);
}
const { ref } = await buildResultityImage({ registry, progress: terminalProgress() });
const [repository, digest] = ref.split('@');
process.stdout.write(`--set image.repository=${repository} --set image.digest=${digest}\n`);
