/** The plugin as people install it: one file under krew's link, on nobody's PATH but its own. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { bundle } from '../../hack/build.ts';
import { repoRoot } from '../../hack/lib/index.ts';
import { KIND } from '../../src/cli/kinds.ts';
import { CliRig } from '../support/cli-rig.ts';
import { resultityNode } from '../support/why-not-cases.ts';

describe('the bundled plugin', function () {
  this.timeout(60_000);
  let dir: string;
  before(async () => {
    dir = mkdtempSync(join(tmpdir(), 'resultity-krew-'));
    // ~/.krew/bin/kubectl-resultity → ~/.krew/store/resultity/<version>/resultity.mjs
    await bundle('src/cli/main.ts', join(dir, 'store/resultity.mjs'));
    symlinkSync(join(dir, 'store/resultity.mjs'), join(dir, 'kubectl-resultity'));
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  const run = (args: readonly string[], env: Record<string, string> = {}) =>
    spawnSync(process.execPath, [join(dir, 'kubectl-resultity'), ...args], { cwd: dir, env, encoding: 'utf8' });

  it('prints its version and completion with no package beside it', () => {
    expect(run(['version'])).to.deep.include({ status: 0, stdout: '0.1.0\n', stderr: '' });
    expect(run(['drain', '--help']).stdout).to.contain('Usage: kubectl resultity drain [options] <node...>');
    expect(run(['completion', 'bash']).stdout).to.contain('complete -F _resultity resultity kubectl-resultity');
  });

  it('is content when its reader has read enough', () => {
    const script = `"$0" "$1" --help | head -0; echo "\${PIPESTATUS[0]}"`;
    const piped = ['-c', script, process.execPath, join(dir, 'kubectl-resultity')];
    expect(spawnSync('bash', piped, { encoding: 'utf8' })).to.deep.include({ stdout: '0\n', stderr: '' });
  });

  it('is installed and completes by the lines of docs/cli.md', () => {
    const page = readFileSync(join(repoRoot, 'docs/cli.md'), 'utf8');
    const blocks = [...page.matchAll(/<!-- run by: .* -->\n```\n([\s\S]*?)```/g)].map(([, block = '']) => block);
    expect(blocks).to.have.length(2);
    const bin = join(dir, 'bin');
    mkdirSync(bin);
    symlinkSync(process.execPath, join(bin, 'node'));
    // kubectl finds plugins by their names on the PATH; that much of it is enough here
    writeFileSync(join(bin, 'kubectl'), '#!/bin/sh\nname=$1; shift; exec "kubectl-$name" "$@"\n', { mode: 0o755 });
    const lines = blocks.join('').replaceAll('/usr/local/bin', bin).replaceAll('dist/', `${dir}/store/`);
    const asked = 'complete -p kubectl-resultity; kubectl_complete-resultity config h';
    const ran = spawnSync('bash', ['--norc', '-e', '-c', `${lines}\n${asked}`], {
      env: { PATH: `${bin}:${process.env.PATH}` },
      encoding: 'utf8',
    });
    expect(ran.stderr).to.equal('');
    expect(ran.stdout.split('\n')).to.deep.equal([
      '0.1.0',
      'complete -F _resultity kubectl-resultity',
      'history',
      'hold',
      ':4',
      '',
    ]);
  });

  it('asks the cluster of KUBECONFIG, and says what to do without one', async () => {
    const rig = await CliRig.start();
    try {
      await rig.seed(KIND.node, resultityNode({}, { phase: 'Unplaced' }));
      const child = spawn(process.execPath, [join(dir, 'kubectl-resultity'), 'status'], {
        env: { KUBECONFIG: join(rig.dir, 'kubeconfig') },
      });
      let out = '';
      child.stdout.on('data', (part: Buffer) => {
        out += part.toString();
      });
      const code = await new Promise((resolve) => child.on('close', resolve));
      expect(code).to.equal(0);
      expect(out)
        .to.match(/gpu-a +Unplaced .*→ kubectl resultity why-not gpu-a/)
        .and.not.contain('\u001b');
    } finally {
      await rig.stop();
    }
    const without = run(['status'], { HOME: dir });
    expect(without.status).to.equal(1);
    expect(without.stderr).to.contain('name one with --kubeconfig FILE, or set KUBECONFIG');
  });
});
