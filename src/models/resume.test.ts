import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { DownloadRig, sha256 as sha } from '../../test/support/download-rig.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import type { FileSource } from '../../test/support/file-source.ts';
import { until } from '../../test/support/until.ts';
import { Secret } from '../lib/secret.ts';
import { modelDigest } from '../protocol/model-digest.ts';
import type { DownloadOptions } from './download.ts';
import type { Shared } from './tidy.ts';

const SIZE = 2_000_000;
/** Received and not read when a connection breaks: lost. */
const IN_FLIGHT = 131_072;
const weights = randomBytes(SIZE);
const config = Buffer.from('{"architectures":["Llama"]}');

describe('a model download under faults', () => {
  let rig: DownloadRig;
  let shared: Shared;
  let good: FileSource;
  let bad: FileSource;
  const install = async (more: Partial<DownloadOptions> = {}): Promise<Buffer> =>
    readFileSync(join(await rig.install(more), 'model.safetensors'));
  const ranges = (source: FileSource): (string | undefined)[] =>
    source.asked.filter((a) => a.path === 'model.safetensors').map((a) => a.range);

  /** Every byte once, but for those that a cut destroyed on their way. */
  const servedOnce = (cuts: number): void => {
    expect(good.sent).to.be.within(SIZE + config.length, SIZE + config.length + cuts * IN_FLIGHT);
  };

  beforeEach(async () => {
    rig = await DownloadRig.start({ 'config.json': config, 'model.safetensors': weights });
    ({ shared, good, bad } = rig);
  });
  afterEach(() => rig.close());

  it('cut at 40 %, 41 % and 99 %, goes on there each time: the source serves every byte once', async () => {
    const cuts = [0.4, 0.41, 0.99].map((share) => share * SIZE);
    good.before = (req, res) => {
      if (req.url !== '/model.safetensors' || cuts.length === 0) return false;
      good.serve(req, res, cuts.shift());
      return true;
    };
    expect((await install()).equals(weights)).to.equal(true);
    const from = ranges(good).map((range) => Number(/\d+/.exec(range ?? '0')?.[0]));
    expect(from).to.have.length(4);
    [0, 0.4, 0.41, 0.99].forEach((share, i) => {
      expect(from[i], `cut at ${share}`).to.be.within(Math.max(0, share * SIZE - IN_FLIGHT), share * SIZE);
    });
    servedOnce(3);
  });

  it('cut while an earlier call ended, goes on there in the next one', async () => {
    good.before = (req, res) => {
      if (req.url !== '/model.safetensors') return false;
      good.serve(req, res, ranges(good).length === 1 ? 0.4 * SIZE : 0);
      return true;
    };
    await install().then(
      () => expect.fail('it was cut'),
      (error: { code: string }) => expect(error.code).to.equal('source_failed'),
    );
    good.before = null;
    expect((await install()).equals(weights)).to.equal(true);
    servedOnce(1);
  });

  it('starts again where the source knows no ranges', async () => {
    good.ranges = false;
    let cut = true;
    good.before = (req, res) => {
      if (req.url !== '/model.safetensors' || !cut) return false;
      cut = false;
      good.serve(req, res, 0.4 * SIZE);
      return true;
    };
    expect((await install()).equals(weights)).to.equal(true);
    expect(good.sent).to.equal(1.4 * SIZE + config.length);
  });

  it('takes a file that changed in between from its beginning, by If-Range, not by a wasted rest', async () => {
    const old = Buffer.from(weights);
    old[5]! ^= 1;
    good.files.set('model.safetensors', old);
    good.etag = () => `"${sha(good.files.get('model.safetensors')!)}"`;
    let cut = true;
    good.before = (req, res) => {
      if (req.url !== '/model.safetensors' || !cut) return false;
      cut = false;
      good.serve(req, res, 0.4 * SIZE);
      good.files.set('model.safetensors', weights);
      return true;
    };
    expect((await install()).equals(weights)).to.equal(true);
    expect(good.asked.filter((a) => a.path === 'model.safetensors').map((a) => a.ifRange)).to.deep.equal([
      undefined,
      `"${sha(old)}"`,
    ]);
    expect(good.sent).to.equal(1.4 * SIZE + config.length);
  });

  it('sees by its size that a source has another file, and takes none of it', async () => {
    bad.files.set('model.safetensors', Buffer.concat([weights, Buffer.alloc(1)]));
    rig.model = { ...rig.model, sources: [bad.url, good.url] };
    bad.before = (req, res) => {
      if (req.url !== '/model.safetensors') return false;
      res.writeHead(200, { 'content-length': SIZE + 1 }).flushHeaders();
      return true;
    };
    expect((await install()).equals(weights)).to.equal(true);
    expect(ranges(bad)).to.have.length(1);
  });

  it('leaves a source that drips for the next one after one window, with what came', async () => {
    const clock = new FakeClock();
    rig.model = { ...rig.model, sources: [bad.url, good.url] };
    let drip: NodeJS.Timeout | undefined;
    bad.before = (req, res) => {
      if (req.url !== '/model.safetensors') return false;
      res.writeHead(200, { 'content-length': SIZE });
      res.write(weights.subarray(0, 1_000));
      let at = 1_000;
      drip = setInterval(() => {
        res.write(weights.subarray(at, at + 10));
        at += 10;
      }, 5);
      return true;
    };
    const held: number[] = [];
    const done = install({ clock, onProgress: (p) => held.push(p.bytes) });
    try {
      await until('the drip', () => held.some((bytes) => bytes > config.length + 1_000));
      await clock.advance(30_000);
      expect((await done).equals(weights)).to.equal(true);
    } finally {
      clearInterval(drip);
    }
    expect(ranges(bad)).to.deep.equal([undefined]);
    expect(ranges(good)[0]).to.match(/^bytes=1\d\d\d-$/);
    expect(clock.waiting).to.equal(0);
  });

  it('brings files side by side, and tells the first that failed when all have ended', async () => {
    const files = ['a', 'b', 'c', 'd', 'e'].map((name) => ({
      path: `${name}.safetensors`,
      size: 1_000,
      sha256: sha(weights.subarray(0, 1_000)),
    }));
    rig.model = { ...rig.model, files, digest: modelDigest(files) };
    const waiting: (() => void)[] = [];
    good.before = (req, res) => {
      waiting.push(() =>
        req.url === '/c.safetensors' ? res.writeHead(404).end() : res.end(weights.subarray(0, 1_000)),
      );
      return true;
    };
    const done = install().then(
      () => 'installed',
      (error: { code: string }) => error.code,
    );
    await until('four at once', () => waiting.length === 4);
    for (const answer of waiting.splice(0)) answer();
    expect(await done).to.equal('source_failed');
    expect(await shared.store.has(rig.model.digest)).to.equal(false);
  });

  it('gives a credential to its own host alone, and never to where a redirect leads', async () => {
    const byName = good.url.replace('127.0.0.1', 'localhost');
    const credentials = new Map([
      ['localhost', new Secret('reader:pass word')],
      ['127.0.0.1', new Secret('token-of-another-host')],
    ]);
    good.before = (req, res) => {
      if (req.url !== '/model.safetensors') return false;
      res.writeHead(307, { location: `${bad.url}model.safetensors` }).end();
      return true;
    };
    rig.model = { ...rig.model, sources: [byName] };
    expect((await install({ credentials })).equals(weights)).to.equal(true);
    const basic = `Basic ${Buffer.from('reader:pass word').toString('base64')}`;
    expect(good.asked.map((a) => a.authorization)).to.deep.equal([basic, basic]);
    expect(bad.asked.map((a) => a.authorization)).to.deep.equal([undefined]);
  });

  it('sends a token as bearer, and nothing to a host that has none', async () => {
    rig.model = { ...rig.model, sources: [bad.url.replace('127.0.0.1', 'localhost'), good.url] };
    bad.before = (_req, res) => {
      res.writeHead(403).end();
      return true;
    };
    await install({ credentials: new Map([['127.0.0.1', new Secret('abc')]]) });
    expect(new Set(good.asked.map((a) => a.authorization))).to.deep.equal(new Set(['Bearer abc']));
    expect(new Set(bad.asked.map((a) => a.authorization))).to.deep.equal(new Set([undefined]));
  });
});
