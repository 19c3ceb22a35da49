import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { LauncherLink } from '../runtime/index.ts';
import { LoadTimes, secondsOf } from './load-times.ts';

describe('what loading an engine took', () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'load-times-'));
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  it('is told by phase from the launcher’s marks, the last until the engine answered', () => {
    const marks = [
      { phase: 'loading', at: 1_000 },
      { phase: 'compiling', at: 41_000 },
      { phase: 'capturing', at: 56_000 },
      { phase: 'ready', at: 60_000 },
    ];
    expect(secondsOf(marks, 1_000, 61_000)).to.deep.equal({ load: 60, loading: 40, compiling: 15, capturing: 5 });
    expect(secondsOf([], 1_000, 3_000)).to.deep.equal({ load: 2 });
  });

  it('is known to the next process, for the last sixteen loads; a damaged file is as good as none', async () => {
    const file = join(dir, 'load-times.json');
    const times = new LoadTimes(file);
    for (let i = 0; i < 17; i++) await times.keep(`model ${i}`, { load: i });
    const next = new LoadTimes(file);
    expect(await next.of('model 16')).to.deep.equal({ load: 16 });
    expect(await next.of('model 0')).to.equal(undefined);
    writeFileSync(file, '[["model 1",{"load":');
    expect(await new LoadTimes(file).of('model 16')).to.equal(undefined);
  });

  it('does not have to be paid again when an agent is replaced that had restarted its engine', async () => {
    const folders = { controlDir: dir, engineDir: dir };
    expect(await new LauncherLink(folders, 1).lastRestart()).to.equal(0);
    const want = { action: 'run', model: null, args: {}, env: {}, tier: 'none', probe: null } as const;
    await new LauncherLink(folders, 1).desire({ ...want, restart: 3 });
    expect(await new LauncherLink(folders, 9).lastRestart()).to.equal(3);
  });
});
