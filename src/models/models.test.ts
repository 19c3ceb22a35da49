import { randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { DownloadRig, sha256 as sha } from '../../test/support/download-rig.ts';
import type { FileSource } from '../../test/support/file-source.ts';
import { isCoded } from '../lib/errors.ts';
import { modelDigest } from '../protocol/model-digest.ts';
import type { DownloadOptions } from './download.ts';
import type { Progress } from './progress.ts';
import type { ModelStore } from './store.ts';
import { removeUnlisted, type Shared } from './tidy.ts';
import { verifyFolder } from './verify.ts';

describe('model download', () => {
  let rig: DownloadRig;
  let dir: string;
  let store: ModelStore;
  let good: FileSource;
  let bad: FileSource;
  let shared: Shared;
  const weights = randomBytes(400_000);
  const config = Buffer.from('{"architectures":["Llama"]}');
  const install = (more: Partial<DownloadOptions> = {}): Promise<string> => rig.install(more);
  const staged = async (name: string): Promise<string> => join((await store.staged())[0]!.path, name);
  const refused = async (code: string, more: Partial<DownloadOptions> = {}): Promise<string> => {
    try {
      await install(more);
    } catch (error) {
      if (!isCoded(error, code)) throw error;
      expect(await store.has(rig.model.digest)).to.equal(false);
      return error.message;
    }
    throw new Error(`was not refused with ${code}`);
  };

  beforeEach(async () => {
    rig = await DownloadRig.start({ 'sub/config.json': config, 'model.safetensors': weights });
    ({ dir, good, bad, shared } = rig);
    store = shared.store;
  });
  afterEach(() => rig.close());

  it('installs every file, read-only, under the digest, and tells its progress', async () => {
    const seen: Progress[] = [];
    const path = await install({ onProgress: (p) => seen.push(p) });
    expect(path).to.equal(join(dir, rig.model.digest.replace(':', '-')));
    expect(readFileSync(join(path, 'model.safetensors')).equals(weights)).to.equal(true);
    expect(statSync(join(path, 'sub/config.json')).mode & 0o777).to.equal(0o444);
    expect(statSync(path).mode & 0o777).to.equal(0o555);
    expect(seen.at(-1)).to.include({ bytes: weights.length + config.length, total: weights.length + config.length });
    expect(await verifyFolder(path, rig.model.files)).to.deep.equal({
      ok: true,
      bytes: weights.length + config.length,
    });
    expect(await store.staged()).to.deep.equal([]);
  });

  it('refuses one flipped byte as a digest mismatch, throws the file away and recovers when it is right again', async () => {
    const flipped = Buffer.from(weights);
    flipped[200_000]! ^= 1;
    good.files.set('model.safetensors', flipped);
    expect(await refused('digest_mismatch')).to.contain('has another sha256');
    expect(statSync(await staged('model.safetensors')).size).to.equal(0);
    good.files.set('model.safetensors', weights);
    await install();
    expect(await store.has(rig.model.digest)).to.equal(true);
  });

  it('resumes at 40 % where an earlier process stopped', async () => {
    const staging = store.stagingOf(rig.model.digest);
    mkdirSync(staging);
    writeFileSync(join(staging, 'model.safetensors'), weights.subarray(0, 160_000));
    await install();
    const asked = good.asked.filter((a) => a.path === 'model.safetensors');
    expect(asked.map((a) => a.range)).to.deep.equal(['bytes=160000-']);
  });

  it('resumes within one call when the connection breaks, and gives up a source that gives nothing', async () => {
    rig.model = { ...rig.model, sources: [bad.url, good.url] };
    let times = 0;
    bad.before = (req, res) => {
      if (req.url !== '/model.safetensors') return false;
      const from = Number(/=(\d+)/.exec(req.headers.range ?? '')?.[1] ?? 0);
      res.writeHead(from > 0 ? 206 : 200, from > 0 ? { 'content-range': `bytes ${from}-399999/400000` } : {});
      if (times++ < 2) res.write(weights.subarray(from, from + 50_000), () => res.destroy());
      else res.destroy();
      return true;
    };
    const path = await install();
    expect(readFileSync(join(path, 'model.safetensors')).equals(weights)).to.equal(true);
    const last = good.asked.find((a) => a.path === 'model.safetensors');
    expect(last?.range).to.match(/^bytes=[1-9]/);
  });

  it('starts again at a source that knows no ranges', async () => {
    mkdirSync(store.stagingOf(rig.model.digest));
    writeFileSync(join(store.stagingOf(rig.model.digest), 'model.safetensors'), weights.subarray(0, 1000));
    good.before = (req, res) => {
      if (req.url !== '/model.safetensors') return false;
      res.end(weights);
      return true;
    };
    await install();
    expect(await store.has(rig.model.digest)).to.equal(true);
  });

  it('throws wrong bytes of an earlier process away and takes the whole file', async () => {
    mkdirSync(store.stagingOf(rig.model.digest));
    writeFileSync(join(store.stagingOf(rig.model.digest), 'model.safetensors'), randomBytes(1000));
    await install();
    expect(good.asked.filter((a) => a.path === 'model.safetensors').map((a) => a.range)).to.deep.equal([
      'bytes=1000-',
      undefined,
    ]);
    expect(await store.has(rig.model.digest)).to.equal(true);
  });

  it('falls back to the next source when the first has other bytes or none', async () => {
    bad.files.set('model.safetensors', Buffer.concat([weights, Buffer.from('x')]));
    bad.files.delete('sub/config.json');
    rig.model = { ...rig.model, sources: [bad.url, good.url] };
    await install();
    expect(await store.has(rig.model.digest)).to.equal(true);
  });

  it('never takes more bytes than are signed', async () => {
    let sent = 0;
    good.before = (req, res) => {
      if (req.url !== '/model.safetensors') return false;
      const more = (): void => {
        sent += 65_536;
        if (!res.destroyed && sent < 50e6) res.write(Buffer.alloc(65_536), more);
      };
      more();
      return true;
    };
    expect(await refused('digest_mismatch')).to.contain('longer than the 400000 bytes');
    expect(statSync(await staged('model.safetensors')).size).to.equal(0);
  });

  it('takes a drip for a stall', async () => {
    good.before = (_req, res) => {
      res.write('x');
      return true;
    };
    await refused('source_stalled', { stallMs: 50 });
  });

  it('does not ask an untrusted host, a redirect to one, nor plain http outside loopback', async () => {
    const policy = { trustedSources: [new URL(good.url).host], allowInsecureHosts: [], mirrors: [] };
    good.before = (req, res) => {
      res.writeHead(302, { location: `${bad.url.slice(0, -1)}${req.url}` }).end();
      return true;
    };
    await refused('untrusted_source', { policy });
    expect(bad.asked).to.deep.equal([]);
    rig.model = { ...rig.model, sources: ['http://models.example.com/'] };
    await refused('insecure_source', { policy: { ...policy, trustedSources: ['models.example.com'] } });
  });

  it('follows a redirect to a trusted host, and a mirror in place of the listed host', async () => {
    good.before = (req, res) => {
      res.writeHead(307, { location: `${bad.url.slice(0, -1)}${req.url}` }).end();
      return true;
    };
    rig.model = { ...rig.model, sources: ['https://models.example.com/base/'] };
    const mirrors = [{ from: 'https://models.example.com/base/', to: good.url }];
    await install({ policy: { trustedSources: ['127.0.0.1'], allowInsecureHosts: [], mirrors } });
    expect(bad.asked).to.have.length(2);
  });

  it('asks for nothing when the disk has no room, and names what is missing', async () => {
    const message = await refused('insufficient_disk', { freeBytes: async () => 100, reserveBytes: 10 * 2 ** 20 });
    expect(message).to.match(/^11 MiB missing on .*download-.*: 1 MiB to download, 10 MiB kept free, 1 MiB free$/);
    expect(good.asked).to.deep.equal([]);
  });

  it('stops at once when aborted, and keeps what it has', async () => {
    const stop = new AbortController();
    good.before = (req, res) => {
      if (req.url !== '/model.safetensors') return false;
      res.write(weights.subarray(0, 100_000));
      return true;
    };
    const reason = new Error('stop');
    const run = install({ signal: stop.signal, onProgress: (p) => p.bytes > 100_000 && stop.abort(reason) });
    expect(await run.catch((e: unknown) => e)).to.equal(reason);
    expect(statSync(await staged('model.safetensors')).size).to.equal(100_000);
  });

  it('refuses a manifest whose paths leave the folder before it touches the disk', async () => {
    const files = [{ path: '../evil.json', size: 1, sha256: sha(config) }];
    rig.model = { ...rig.model, files, digest: modelDigest(files) };
    await refused('bad_manifest');
    expect(await store.staged()).to.deep.equal([]);
  });

  it('does not write through a link that lies in its way', async () => {
    const staging = store.stagingOf(rig.model.digest);
    mkdirSync(staging);
    writeFileSync(join(dir, 'victim'), 'precious');
    symlinkSync(join(dir, 'victim'), join(staging, 'model.safetensors'));
    await install();
    expect(readFileSync(join(dir, 'victim'), 'utf8')).to.equal('precious');
  });

  it('tells what is wrong with a folder: flipped, missing, unlisted, link, longer', async () => {
    const make = (change: (at: string) => void): Promise<string> => {
      const at = mkdtempSync(join(dir, 'x-'));
      mkdirSync(join(at, 'sub'));
      writeFileSync(join(at, 'sub/config.json'), config);
      writeFileSync(join(at, 'model.safetensors'), weights);
      change(at);
      return verifyFolder(at, rig.model.files).then((v) => (v.ok ? 'ok' : v.code));
    };
    const flip = Buffer.from(config);
    flip[3]! ^= 1;
    expect(await make(() => {})).to.equal('ok');
    expect(await make((at) => writeFileSync(join(at, 'sub/config.json'), flip))).to.equal('digest_mismatch');
    expect(await make((at) => rmSync(join(at, 'model.safetensors')))).to.equal('missing_file');
    expect(await make((at) => writeFileSync(join(at, 'sub/evil.py'), ''))).to.equal('unlisted_file');
    expect(await make((at) => symlinkSync('/etc/passwd', join(at, 'l')))).to.equal('link');
    expect(await make((at) => writeFileSync(join(at, 'sub/config.json'), 'x'))).to.equal('size_mismatch');
  });

  it('removes unlisted models only after the cache time, and downloads of them at once', async () => {
    await install();
    const other = `sha256:${'b'.repeat(64)}` as const;
    mkdirSync(store.stagingOf(other));
    expect(await removeUnlisted(shared, new Set([rig.model.digest]), 0)).to.deep.equal([]);
    expect(existsSync(store.stagingOf(other))).to.equal(false);
    expect(await removeUnlisted(shared, new Set(), 60_000)).to.deep.equal([]);
    expect(await store.has(rig.model.digest)).to.equal(true);
    expect(await removeUnlisted(shared, new Set(), 0)).to.deep.equal([rig.model.digest]);
    expect(readdirSync(dir).filter((name) => !name.includes('.lock.'))).to.deep.equal([]);
  });
});
