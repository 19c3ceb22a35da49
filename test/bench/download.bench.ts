import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Agent } from 'undici';
import { systemClock } from '../../src/lib/clock.ts';
import { downloadModel, type ModelManifest, openShared } from '../../src/models/index.ts';
import { modelDigest } from '../../src/protocol/index.ts';
import type { Figures } from './types.ts';

const RUNS = 5;
const FILES = 4;
const FILE_MIB = 96;
const MIB = 2 ** 20;
const TOTAL_MIB = FILES * FILE_MIB;

/** A source in a process of its own, so that its work is not counted: each file is one random MiB, repeated. */
const SOURCE = `
import { createServer } from 'node:http';
const block = Buffer.from(process.argv[1], 'hex');
const mib = Buffer.concat(Array(${MIB} / block.length).fill(block));
const server = createServer((_req, res) => {
  res.writeHead(200, { 'content-length': ${FILE_MIB * MIB} });
  let left = ${FILE_MIB};
  const more = () => {
    while (left-- > 0) if (!res.write(mib)) return res.once('drain', more);
    res.end();
  };
  more();
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.resume().once('close', () => process.exit(0));
`;

const mean = (all: readonly number[]): number => all.reduce((a, b) => a + b, 0) / all.length;
const spread = (all: readonly number[]): string => {
  const m = mean(all);
  const sd = Math.sqrt(all.reduce((a, b) => a + (b - m) ** 2, 0) / Math.max(1, all.length - 1));
  return `${m.toFixed(0)} ± ${sd.toFixed(0)}`;
};
interface Cost {
  readonly rate: number;
  /** Of this process, ms a GiB: what a loaded machine does not falsify. */
  readonly cpu: number;
}
const costOf = async (work: () => Promise<unknown>): Promise<Cost> => {
  const [started, before] = [performance.now(), process.cpuUsage()];
  await work();
  const { user, system } = process.cpuUsage(before);
  const gib = TOTAL_MIB / 1024;
  return { rate: (TOTAL_MIB * 1000) / (performance.now() - started), cpu: (user + system) / 1000 / gib };
};

/** How late a timer of 50 ms, such as a heartbeat's, fires while `work` goes on; ms. */
const lateness = async (work: () => Promise<unknown>): Promise<{ p50: number; p99: number; max: number }> => {
  const loop = monitorEventLoopDelay({ resolution: 1 });
  const late: number[] = [];
  let due = performance.now() + 50;
  const timer = setInterval(() => {
    late.push(performance.now() - due);
    due = performance.now() + 50;
  }, 50);
  loop.enable();
  await work();
  loop.disable();
  clearInterval(timer);
  late.sort((a, b) => a - b);
  return { p50: loop.percentile(50) / 1e6, p99: loop.percentile(99) / 1e6, max: Math.max(0, late.at(-1) ?? 0) };
};

export const verifyWhileDownload: Figures = {
  name: 'model download with every byte verified',
  figures: async () => {
    const block = randomBytes(4096);
    const mib = Buffer.concat(Array<Buffer>(MIB / block.length).fill(block));
    const hash = createHash('sha256');
    for (let i = 0; i < FILE_MIB; i++) hash.update(mib);
    const sha256 = hash.digest('hex');
    const files = Array.from({ length: FILES }, (_, i) => ({ path: `${i}.safetensors`, size: FILE_MIB * MIB, sha256 }));
    const source = spawn(process.execPath, ['--input-type=module', '-e', SOURCE, block.toString('hex')], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const port = await new Promise<string>((resolve) =>
      source.stdout.once('data', (text) => resolve(String(text).trim())),
    );
    const sources = [`http://127.0.0.1:${port}/`];
    const model: ModelManifest = {
      name: 'm',
      version: 'v1',
      digest: modelDigest(files),
      files,
      sources,
      requires: { diskMiB: 0 },
    };
    const dir = mkdtempSync(join(tmpdir(), 'bench-download-'));
    const { store, leases } = openShared(dir, {
      owner: 'bench',
      boot: 'b',
      clock: systemClock,
      renewMs: 5_000,
      ttlMs: 30_000,
    });
    const dispatcher = new Agent();
    const policy = { trustedSources: ['127.0.0.1'], allowInsecureHosts: [], mirrors: [] };
    const costs: Record<'plain' | 'file' | 'download', Cost[]> = { plain: [], file: [], download: [] };
    const late: { p50: number; p99: number; max: number }[] = [];
    try {
      for (let run = 0; run < RUNS; run++) {
        costs.plain.push(
          await costOf(async () => {
            const plain = createHash('sha256');
            for (let i = 0; i < TOTAL_MIB; i++) plain.update(mib);
            plain.digest('hex');
          }),
        );
        const lease = await leases.acquire(store.lockOf(model.digest), {});
        let path = '';
        const download = async (): Promise<void> => {
          path = await downloadModel(model, { store, lease, dispatcher, policy });
        };
        costs.download.push(await costOf(async () => void late.push(await lateness(download))));
        await lease.release();
        costs.file.push(
          await costOf(async () => {
            for (const file of files) {
              const read = createHash('sha256');
              for await (const part of createReadStream(join(path, file.path), { highWaterMark: 256 << 10 }))
                read.update(part);
              if (read.digest('hex') !== sha256) throw new Error('the bench downloaded other bytes');
            }
          }),
        );
        await store.remove(model.digest);
      }
      const idle = await lateness(() => new Promise((resolve) => setTimeout(resolve, 2_000)));
      const line = (of: { p50: number; p99: number; max: number }): string =>
        `loop delay p50 ${of.p50.toFixed(1)} ms, p99 ${of.p99.toFixed(1)} ms; a timer of 50 ms at most ${of.max.toFixed(1)} ms late`;
      const worst = {
        p50: mean(late.map((l) => l.p50)),
        p99: mean(late.map((l) => l.p99)),
        max: Math.max(...late.map((l) => l.max)),
      };
      const rates = (of: readonly Cost[]): number[] => of.map((c) => c.rate);
      const ratio = (of: readonly Cost[]): string => (mean(rates(costs.download)) / mean(rates(of))).toFixed(2);
      const told = (of: readonly Cost[]): string =>
        `${spread(rates(of))} MiB/s, ${spread(of.map((c) => c.cpu))} ms of processor time a GiB`;
      return [
        `${RUNS} runs of ${FILES} files of ${FILE_MIB} MiB over loopback; fsync, lease and rename included`,
        `sha256 of memory           ${told(costs.plain)}`,
        `sha256 of the files        ${told(costs.file)}`,
        `downloaded and verified    ${told(costs.download)} = ${ratio(costs.plain)} × memory, ${ratio(costs.file)} × files`,
        `meanwhile ${line(worst)}`,
        `idle      ${line(idle)}`,
      ];
    } finally {
      source.stdin.end();
      await dispatcher.destroy();
      rmSync(dir, { recursive: true, force: true });
    }
  },
};
