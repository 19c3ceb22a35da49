/**
 * `node hack/syscalls/main.ts` (needs strace): what kill −9 cannot show, since the page cache survives it. Runs the agent's
 * jobs on their journal under strace and checks that before each promise all that was written to the journal was followed by
 * fdatasync (docs/faults.md). Exit 1 when not.
 */
import { mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { JobsRig } from '../../test/support/jobs-rig.ts';
import { until } from '../../test/support/until.ts';
import { exec } from '../lib/index.ts';
import { judgeTrace } from './trace.ts';

/** The traced part: five jobs, streamed and not. Each promise is written down when its frame would go to the socket. */
const work = async (folder: string): Promise<void> => {
  const file = openSync(join(folder, 'promises'), 'a');
  const promise = (what: string): void => void writeSync(file, `PROMISE ${what}\n`);
  const rig = await JobsRig.start({ folder });
  rig.onSent = (t, body) => {
    if (t === 'job.accept') promise('job.accept');
    if (t !== 'job.result') return;
    promise('job.result');
    rig.results.receipt(rig.receiptOf(body as never));
    promise('settled');
  };
  for (let i = 0; i < 5; i++) {
    rig.offer({ jobId: `job-${i}`, stream: i % 2 === 0 });
    await until('it is settled', () => rig.journal.get({ jobId: `job-${i}`, attempt: 1 })?.state === 'receipted');
  }
  await rig.close();
};

const trace = async (folder: string): Promise<string> => {
  const out = join(folder, 'trace');
  const calls = 'trace=pwrite64,write,fdatasync,fsync';
  const self = [process.execPath, import.meta.filename, '--work', folder];
  const done = await exec(['strace', '-f', '-y', '-e', calls, '-o', out, ...self]).catch(() => {
    throw new Error('strace is needed: apt-get install strace');
  });
  if (done.code !== 0) throw new Error(`the traced program failed: ${done.stderr}`);
  return readFileSync(out, 'utf8');
};

const [flag, given] = process.argv.slice(2);
if (flag === '--work' && given !== undefined) await work(given);
else {
  const folder = mkdtempSync(join(tmpdir(), 'syscalls-'));
  try {
    const { lines, broken } = judgeTrace(await trace(folder));
    process.stdout.write(`${lines.join('\n')}\n`);
    if (broken > 0) process.exitCode = 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
