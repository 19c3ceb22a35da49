/** `npm run build`: bundles each program into one file for Node, in dist/. */
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { repoRoot } from './lib/index.ts';
import { slim } from './slim.ts';

/** The programs of the product and where each is bundled to. */
export const PROGRAMS: Readonly<Record<string, string>> = {
  'operator.mjs': 'operator/main.ts',
  'agent.mjs': 'src/agent/main.ts',
  'resultity-network.mjs': 'src/network/main.ts',
  'resultity.mjs': 'src/cli/main.ts',
};

/** Native or optional modules that stay outside the bundles and are copied into the image. */
export const EXTERNAL = ['secp256k1'];

/**
 * CommonJS packages ask for `require`; undici 8 needs a Node that an older host may not have: said in one line; zod compiles
 * no code at run time, which makes the first use of each schema cheaper and later ones no slower than can be measured.
 */
const BANNER = `import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);
const [__major = 0, __minor = 0] = process.versions.node.split('.').map(Number);
if (__major < 22 || (__major === 22 && __minor < 19)) {
  console.error(\`this program needs Node.js 22.19 or later; this is \${process.version}\`);
  process.exit(1);
}
globalThis.__zod_globalConfig = { jitless: true };`;

/** Bundles one program for Node, everything but EXTERNAL inside. Throws when the entry is missing or does not build. */
export async function bundle(entry: string, outfile: string): Promise<void> {
  const source = join(repoRoot, entry);
  if (!existsSync(source)) throw new Error(`cannot bundle ${entry}: the file does not exist`);
  const { outputFiles } = await build({
    entryPoints: [source],
    outfile,
    write: false,
    bundle: true,
    platform: 'node',
    target: 'node26',
    format: 'esm',
    external: [...EXTERNAL],
    plugins: [slim],
    banner: { js: BANNER },
    define: { esbuildDetection: 'true' }, // undici asks for this name and then leaves an unused second parser out
    legalComments: 'none',
    logLevel: 'error',
    loader: { '.py': 'text', '.json': 'json' },
  });
  mkdirSync(dirname(outfile), { recursive: true });
  for (const { text } of outputFiles) writeFileSync(outfile, ascii(text));
}

/**
 * esbuild escapes texts; what is left is in comments of packages. One such character makes V8 keep the
 * source, megabytes of it, in two bytes a character for as long as the program runs.
 */
const ascii = (source: string): string =>
  source.replace(/(^\s*\/?\*|\/\/ ).*$/gm, (comment) => comment.replace(/[^ -~\s]/g, '?'));

/** Bundles every program into `outDir` (default dist/). */
export async function buildAll(outDir: string = join(repoRoot, 'dist')): Promise<void> {
  rmSync(outDir, { recursive: true, force: true });
  for (const [file, entry] of Object.entries(PROGRAMS)) await bundle(entry, join(outDir, file));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const start = performance.now();
  await buildAll();
  console.log(`bundled ${Object.keys(PROGRAMS).join(', ')} into dist/ in ${Math.round(performance.now() - start)} ms`);
}
