import { expect } from 'chai';
import { judgeTrace } from './trace.ts';

const write = '1  pwrite64(20</s/journal.db-wal>, "x", 1, 0) = 1';
const sync = '1  fdatasync(20</s/journal.db-wal>) = 0';
const promise = '1  write(21</s/promises>, "PROMISE job.accept\\n", 19) = 19';

describe('the judge of a syscall trace', () => {
  it('lets a promise stand after fdatasync of every journal file', () => {
    const { lines, broken } = judgeTrace([write, write, sync, promise].join('\n'));
    expect(broken).to.equal(0);
    expect(lines).to.deep.equal(['job.accept   after 2 writes, 1 fdatasync: kept']);
  });
  it('finds a promise made before its bytes were on the disk, and one after an fdatasync of another file', () => {
    expect(judgeTrace([write, promise].join('\n')).broken).to.equal(1);
    expect(judgeTrace([write, sync, write, promise].join('\n')).broken).to.equal(1);
    expect(judgeTrace([write, sync.replace('-wal', ''), promise].join('\n')).broken).to.equal(1);
  });
  it('takes no empty trace for a good one', () => {
    expect(judgeTrace('').broken).to.equal(1);
  });
});
