import { expect } from 'chai';
import { type LogDisk, LogSync } from './log-sync.ts';

/** A disk whose fsyncs end when the test says so. */
class SlowDisk implements LogDisk {
  readonly open: ((error?: unknown) => void)[] = [];
  closed = false;
  now = 0;
  sync(done: (error: unknown) => void): void {
    this.open.push((error) => done(error));
  }
  syncNow(): void {
    this.now++;
  }
  close(): void {
    this.closed = true;
  }
}

describe('syncing the log', () => {
  const setUp = () => {
    const disk = new SlowDisk();
    const told: string[] = [];
    const log = new LogSync(disk, (e) => told.push(`fault ${(e as Error).message}`));
    const commit = (name: string): void => {
      log.committed();
      log.wait([
        { done: () => told.push(`${name} kept`), failed: (e) => told.push(`${name} ${(e as Error).message}`) },
      ]);
    };
    return { disk, log, told, commit };
  };

  it('runs one fsync at a time, and lets what is committed meanwhile share the next one', () => {
    const { disk, told, commit } = setUp();
    commit('a');
    commit('b');
    commit('c');
    expect(disk.open).to.have.length(1);
    disk.open[0]?.();
    expect(told).to.deep.equal(['a kept']);
    expect(disk.open).to.have.length(2);
    disk.open[1]?.();
    expect(told).to.deep.equal(['a kept', 'b kept', 'c kept']);
    expect(disk.open).to.have.length(2);
  });
  it('has nothing to sync when all is kept, and tells at once', () => {
    const { disk, log, told, commit } = setUp();
    commit('a');
    disk.open[0]?.();
    log.wait([{ done: () => told.push('again'), failed: () => {} }]);
    log.syncNow();
    expect(told).to.deep.equal(['a kept', 'again']);
    expect([disk.open.length, disk.now]).to.deep.equal([1, 0]);
  });
  it('keeps by a sync in place what waits for a thread, which then brings no harm', () => {
    const { disk, log, told, commit } = setUp();
    commit('a');
    commit('b');
    log.syncNow();
    expect(told).to.deep.equal(['a kept', 'b kept']);
    disk.open[0]?.();
    commit('c');
    expect(told).to.have.length(2);
  });
  it('fails everything after an fsync that failed: no later one can be believed', () => {
    const { disk, log, told, commit } = setUp();
    commit('a');
    commit('b');
    disk.open[0]?.(new Error('EIO'));
    expect(told).to.deep.equal(['fault EIO', 'a EIO', 'b EIO']);
    commit('c');
    expect(told.at(-1)).to.equal('c EIO');
    expect(() => log.check()).to.throw('EIO');
    expect(() => log.syncNow()).to.throw('EIO');
    expect(disk.open).to.have.length(1);
  });
  it('closes the file only when the fsync under way is over', () => {
    const { disk, log, commit } = setUp();
    commit('a');
    log.close();
    expect([disk.now, disk.closed]).to.deep.equal([1, false]);
    disk.open[0]?.();
    expect(disk.closed).to.equal(true);
  });
});
