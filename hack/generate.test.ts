import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { generate } from './generate.ts';

const repository = fileURLToPath(new URL('..', import.meta.url));

describe('npm run generate', () => {
  let root: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'resultity-generate-'));
    for (const folder of ['src', 'operator', 'charts']) {
      await cp(join(repository, folder), join(root, folder), { recursive: true });
    }
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  it('changes nothing the second time, and --check then names nothing', async () => {
    await generate(root, false);
    expect(await generate(root, true)).to.deep.equal([]);
    expect(await generate(root, false)).to.deep.equal([]);
  });

  it('names what differs with --check and writes nothing', async () => {
    await generate(root, false);
    const path = join(root, 'crds/zz_generated.resultitynodes.yaml');
    await writeFile(path, 'edited');
    expect(await generate(root, true)).to.deep.equal(['crds/zz_generated.resultitynodes.yaml']);
    expect(await readFile(path, 'utf8')).to.equal('edited');
  });
});
