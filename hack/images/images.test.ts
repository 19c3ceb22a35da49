import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { makeImage, packLayer } from './oci.ts';
import { closureOf, parseDepends } from './rootfs.ts';
import { standinModelFiles, tinySafetensors } from './standin-model.ts';
import { checkDisk, PRUNED } from './vllm.ts';

describe('images', () => {
  let root = '';
  let oldCache: string | undefined;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'images-'));
    oldCache = process.env.XDG_CACHE_HOME;
    process.env.XDG_CACHE_HOME = join(root, 'cache');
  });
  afterEach(() => {
    if (oldCache === undefined) delete process.env.XDG_CACHE_HOME;
    else process.env.XDG_CACHE_HOME = oldCache;
    rmSync(root, { recursive: true, force: true });
  });

  const folder = (name: string, time: number) => {
    const dir = join(root, name);
    mkdirSync(join(dir, 'b'), { recursive: true });
    for (const file of name === 'one' ? ['b/x', 'a'] : ['a', 'b/x']) {
      writeFileSync(join(dir, file), file);
      utimesSync(join(dir, file), time, time);
    }
    return dir;
  };

  it('have the same digest for the same content, whatever the order and the times of the files', async () => {
    for (const compression of ['gzip', 'zstd'] as const) {
      const one = await packLayer(folder('one', 1000), compression);
      const two = await packLayer(folder('two', 2000), compression);
      expect(one.digest).to.equal(two.digest);
      const config = { user: '2000:2000', entrypoint: ['x'] };
      expect(makeImage([one], config).digest).to.equal(makeImage([two], config).digest);
    }
  });
});

describe('Debian packages of an image', () => {
  const graph = parseDepends(
    [
      'python3',
      '  Depends: python3.11',
      ' |Depends: <virtual>',
      '  PreDepends: libc6:amd64',
      'python3.11',
      '  Depends: dpkg',
      '  Depends: libc6',
      'libc6',
      'dpkg',
      '  Depends: tar',
      'tar',
    ].join('\n'),
  );
  it('are the closure of what is asked for, less what only maintainer scripts need', () => {
    expect(closureOf(['python3'], graph)).to.deep.equal(['libc6', 'python3', 'python3.11']);
  });
});

describe('the vLLM image', () => {
  const dropped = (path: string) => PRUNED.some((pattern) => pattern.test(path));
  it('drops what a CPU never loads and keeps what torch links against', () => {
    for (const path of ['triton', 'triton-3.6.0.dist-info', 'nvidia/cudnn/lib/libcudnn_adv.so.9', 'torch/include']) {
      expect(dropped(path), path).to.equal(true);
    }
    for (const path of [
      'torch',
      'torch/bin/torch_shm_manager',
      'nvidia/cudnn/lib/libcudnn.so.9',
      'nvidia/cu13/lib/libcublas.so.13',
      'nvidia',
    ]) {
      expect(dropped(path), path).to.equal(false);
    }
  });
  it('names the missing GiB when the disk is too small', () => {
    expect(() => checkDisk('/', 10_000_000, 'the image')).to.throw(/GiB short/);
  });
});

describe("the stand-in's model", () => {
  it('is a few kilobytes and the same each time', () => {
    const files = standinModelFiles('v1');
    const size = Object.values(files).reduce((sum, bytes) => sum + bytes.length, 0);
    expect(size).to.be.lessThan(8192);
    expect(standinModelFiles('v1')).to.deep.equal(files);
  });
  it('has weights with a header that safetensors readers take', () => {
    const bytes = tinySafetensors(4);
    const length = Number(bytes.readBigUInt64LE(0));
    const header = JSON.parse(bytes.subarray(8, 8 + length).toString()) as Record<string, { data_offsets: number[] }>;
    expect(Object.values(header)[0]?.data_offsets).to.deep.equal([0, bytes.length - 8 - length]);
  });
});
