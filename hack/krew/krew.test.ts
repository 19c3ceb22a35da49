import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import { parse } from 'yaml';
import { packPlugin } from './pack.ts';

describe('the plugin packed for krew', function () {
  this.timeout(60_000);
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'resultity-krew-'));
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  it('runs from krew’s layout: unpacked into the store, its files moved, a link in the bin folder', async () => {
    const packed = await packPlugin(join(dir, 'out'), 'https://example.com/releases/');
    const { metadata, spec } = parse(readFileSync(packed.manifest, 'utf8'));
    const [platform] = spec.platforms;
    expect(platform).to.include({
      uri: `https://example.com/releases/resultity-${spec.version}.tar.gz`,
      sha256: packed.sha256,
    });

    // what krew does: unpack, move what `files` names into the store, link `bin` as kubectl-<name>
    const [unpacked, store, bin] = [
      join(dir, 'tmp'),
      join(dir, `store/${metadata.name}/${spec.version}`),
      join(dir, 'bin'),
    ];
    for (const folder of [unpacked, store, bin]) mkdirSync(folder, { recursive: true });
    expect(spawnSync('tar', ['-xzf', packed.archive, '-C', unpacked]).status).to.equal(0);
    for (const { from, to } of platform.files) copyFileSync(join(unpacked, from), join(store, to, from));
    const link = join(bin, `kubectl-${metadata.name}`);
    symlinkSync(join(store, platform.bin), link);

    const ran = spawnSync(link, ['--help'], { env: { PATH: `${bin}:${dirname(process.execPath)}` }, encoding: 'utf8' });
    expect(ran.stderr).to.equal('');
    expect(ran.stdout).to.match(/^Usage: kubectl resultity \[options\]/);
    expect(ran.stdout).to.contain('why-not');
  });

  it('has the same bytes each time', async () => {
    const [one, two] = [await packPlugin(join(dir, 'a'), 'x'), await packPlugin(join(dir, 'b'), 'x')];
    expect(one.sha256).to.equal(two.sha256);
  });
});
