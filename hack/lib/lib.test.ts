import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { ExecError, exec, execOk } from './exec.ts';
import { claim, withLock } from './lock.ts';
import { isSameProcess, processRef } from './proc.ts';
import { formatElapsed, terminalProgress } from './progress.ts';

describe('helpers of hack', () => {
  let dir = '';
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'hack-lib-'));
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  it('show elapsed time as a person reads it', () => {
    expect([400, 9_940, 42_000, 65_000, 3_600_000].map(formatElapsed)).to.deep.equal([
      '0.4 s',
      '9.9 s',
      '42 s',
      '1 min 05 s',
      '60 min 00 s',
    ]);
  });

  it('show a failed step and pass its error on', async () => {
    let out = '';
    const progress = terminalProgress({ write: (text: string) => (out += text) });
    const failing = progress.step('build', () => Promise.reject(new Error('no')));
    expect(await failing.catch((error: Error) => error.message)).to.equal('no');
    expect(out).to.match(/^✗ build/);
  });

  it('run programs and fail with the program’s own last words', async () => {
    expect(await execOk(['cat'], { input: 'x' })).to.equal('x');
    expect((await exec(['sh', '-c', 'exit 3'])).code).to.equal(3);
    const error = await execOk(['sh', '-c', 'echo why >&2; exit 1']).catch((e: unknown) => e);
    expect(error).to.be.instanceOf(ExecError);
    expect((error as Error).message).to.contain('why');
  });

  it('do not take a recycled pid for the process that had it', () => {
    const me = processRef(process.pid);
    expect(isSameProcess(me)).to.equal(true);
    expect(isSameProcess({ ...me, startTime: '1' })).to.equal(false);
  });

  it('let one holder at a time through a lock', async () => {
    const order: string[] = [];
    const path = join(dir, 'a.lock');
    await Promise.all(
      ['a', 'b'].map((name) =>
        withLock(path, async () => {
          order.push(`${name}+`);
          await Promise.resolve();
          order.push(`${name}-`);
        }),
      ),
    );
    expect(order.map((entry) => entry[1])).to.deep.equal(['+', '-', '+', '-']);
    expect(existsSync(path)).to.equal(false);
  });

  it('take over the lock of a dead process', async () => {
    const path = join(dir, 'b.lock');
    writeFileSync(path, JSON.stringify({ pid: process.pid, startTime: '1' }));
    expect(await withLock(path, () => Promise.resolve('in'))).to.equal('in');
  });

  it('say who holds what another process has claimed, until that one ends', async () => {
    const path = join(dir, 'c.lock');
    const script = `const { claim } = await import(${JSON.stringify(join(import.meta.dirname, 'lock.ts'))});
      claim(${JSON.stringify(path)}); console.log('held'); setInterval(() => {}, 1000);`;
    const other = spawn(process.execPath, ['--input-type=module', '--eval', script]);
    await once(other.stdout, 'data');
    expect(claim(path)).to.equal(other.pid);
    other.kill('SIGKILL');
    await once(other, 'exit');
    expect(claim(path)).to.equal(undefined);
    expect(claim(path)).to.equal(process.pid);
  });
});
