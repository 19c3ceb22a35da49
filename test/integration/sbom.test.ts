import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { execOk, repoRoot } from '../../hack/lib/index.ts';

interface Bom {
  readonly bomFormat: string;
  readonly specVersion: string;
  readonly components: readonly {
    readonly name: string;
    readonly group?: string;
    readonly version: string;
    readonly hashes?: readonly { readonly alg: string }[];
    readonly licenses?: readonly unknown[];
    readonly properties?: readonly { readonly name: string; readonly value: string }[];
  }[];
}
interface Lock {
  readonly packages: Readonly<
    Record<string, { readonly version: string; readonly dev?: true; readonly devOptional?: true }>
  >;
}
const read = (path: string): string => readFileSync(join(repoRoot, path), 'utf8');

/** The command of docs/release.md. It reads the lock file alone: no network. */
describe('the SBOM of a release', () => {
  it('names every package that is shipped, with its version, hash and licence', async function () {
    this.timeout(60_000);
    const command = 'npm sbom --sbom-format cyclonedx --package-lock-only';
    expect(read('docs/release.md')).to.contain(`${command} > resultity.cdx.json`);
    const bom = JSON.parse(await execOk([...command.split(' '), '--offline'], { cwd: repoRoot })) as Bom;
    expect(bom).to.include({ bomFormat: 'CycloneDX', specVersion: '1.5' });
    const shipped = bom.components.filter(
      (c) => !c.properties?.some((p) => p.name === 'cdx:npm:package:development' && p.value === 'true'),
    );
    const listed = new Set(shipped.map((c) => `${c.group === undefined ? '' : `${c.group}/`}${c.name}@${c.version}`));
    const wanted = Object.entries((JSON.parse(read('package-lock.json')) as Lock).packages)
      .filter(([path, { dev, devOptional }]) => path !== '' && !dev && !devOptional)
      .map(([path, { version }]) => `${path.replace(/^.*node_modules\//, '')}@${version}`);
    expect(wanted.length).to.be.greaterThan(50);
    expect(wanted.filter((name) => !listed.has(name))).to.deep.equal([]);
    const bare = shipped.filter((c) => !c.hashes?.some((h) => h.alg === 'SHA-512') || !c.licenses?.length);
    expect(bare.map((c) => c.name)).to.deep.equal([]);
  });
});
