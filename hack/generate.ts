/**
 * Makes every generated file: `npm run generate`. With `--check` nothing is written; files that differ are named and the
 * exit status is 1.
 */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { apiGroupVersion } from '../src/api/resources.ts';
import { type Api, crdFiles, docsFile, parsersFile, readApi } from './codegen/index.ts';
import { generateChart, VALUES } from './codegen-chart.ts';
import { generateLauncher } from './codegen-launcher.ts';
import { generateObserved } from './observe/index.ts';

/** Makes files from the repository's own sources. Pure in that nothing is written: path (from the root) → content. */
export interface Generator {
  readonly name: string;
  run(root: string): Promise<ReadonlyMap<string, string>>;
}

/** All of them, in the order in which they run. A new generator is a new line here. */
export const generators: readonly Generator[] = [
  { name: 'api', run: generateApi },
  { name: 'chart', run: generateOfChart },
  { name: 'launcher', run: () => Promise.resolve(new Map(generateLauncher().map(({ path, text }) => [path, text]))) },
  { name: 'observed', run: () => Promise.resolve(generateObserved()) },
];

async function generateApi(root: string): Promise<ReadonlyMap<string, string>> {
  const api = await readSources(root);
  return new Map([...crdFiles(api), ...parsersFile(api), ...docsFile(api)]);
}

async function generateOfChart(root: string): Promise<ReadonlyMap<string, string>> {
  return generateChart(crdFiles(await readSources(root)), await readFile(join(root, VALUES), 'utf8'));
}

const readSources = async (root: string): Promise<Api> => readApi(await apiSources(root), ...splitGroupVersion());

/** The files of src/api that hold types: all but tests, generated files and the contract of the pod. */
export async function apiSources(root: string): Promise<Map<string, string>> {
  const folder = join(root, 'src/api');
  const names = (await readdir(folder)).sort().filter((name) => {
    return /\.ts$/.test(name) && !/\.test\.ts$|^zz_generated|^contract\.ts$|^conditions\.ts$|^index\.ts$/.test(name);
  });
  const texts = await Promise.all(names.map((name) => readFile(join(folder, name), 'utf8')));
  return new Map(names.map((name, i) => [name, texts[i] ?? '']));
}

function splitGroupVersion(): [string, string] {
  const [group = '', version = ''] = apiGroupVersion.split('/');
  return [group, version];
}

/** The paths whose content differs from what the generators make; written unless `check`. */
export async function generate(root: string, check: boolean): Promise<string[]> {
  const differing: string[] = [];
  for (const generator of generators) {
    for (const [path, content] of await generator.run(root)) {
      const file = join(root, path);
      const old = await readFile(file, 'utf8').catch(() => undefined);
      if (old === content) continue;
      differing.push(path);
      if (check) continue;
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, content);
    }
  }
  return differing;
}

if (import.meta.main) {
  const check = process.argv.includes('--check');
  const differing = await generate(fileURLToPath(new URL('..', import.meta.url)), check);
  for (const path of differing) process.stdout.write(`${check ? 'differs' : 'wrote'}  ${path}\n`);
  if (check && differing.length > 0) {
    process.stderr.write('generated files are not up to date; run `npm run generate` and commit them\n');
    process.exitCode = 1;
  }
}
