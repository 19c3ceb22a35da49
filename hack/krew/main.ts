/** `bash hack/run krew --uri URL`: packs the plugin into dist/krew: the archive, and the manifest for a krew index. */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { repoRoot } from '../lib/index.ts';
import { packPlugin } from './pack.ts';

const { values } = parseArgs({ options: { uri: { type: 'string' }, help: { type: 'boolean', default: false } } });
if (values.help || values.uri === undefined) {
  process.stderr.write('usage: bash hack/run krew --uri URL   (the folder in which the archive will lie)\n');
  process.exit(values.help ? 0 : 2);
}
const { archive, manifest, sha256 } = await packPlugin(join(repoRoot, 'dist/krew'), values.uri);
process.stdout.write(`${archive}\n${manifest}\nsha256 ${sha256}\n`);
