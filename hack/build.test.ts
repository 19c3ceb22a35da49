import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { buildAll, bundle, PROGRAMS } from './build.ts';
import { execOk, repoRoot } from './lib/index.ts';

/** What a bundle of ours says of itself when it runs alone, with no package beside it. */
const ENTRY = `
import { Agent, request } from 'undici';
import { createServer } from 'node:http';
import { createSigner, signatureBackend, verifyStruct, signStruct, domainOf, checksumAddress } from '../../src/protocol/index.ts';
import { Secret } from '../../src/lib/index.ts';
const signer = createSigner(new Secret('0x' + '42'.repeat(32)));
const bind = { owner: signer.address, node: signer.address, nonce: '0x' + '1'.repeat(64), expiresAt: 1 };
const domain = domainOf('n', 1);
const sig = signStruct(signer, domain, 'Bind', bind);
const dispatcher = new Agent();
const answer = await request(process.argv[2], { dispatcher, headers: { a: 'b' } });
const heard = await answer.body.text();
await dispatcher.close();
console.log(JSON.stringify({ signatureBackend, held: verifyStruct(domain, 'Bind', bind, sig, signer.address), sig, address: checksumAddress(signer.address), status: answer.statusCode, heard, server: typeof createServer }));
`;

describe('the bundles', function () {
  this.timeout(120_000);
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'bundle-'));
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  it('sign by ethers where the native library is not beside them, and call by the slim undici', async () => {
    const server = createServer((req, res) => res.writeHead(418).end(`${req.method} ${req.url} ${req.headers.a}`));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    // the entry lies in the tree so that its imports resolve; the bundle lies where nothing does
    const entry = mkdtempSync(join(repoRoot, 'node_modules/.cache-entry-'));
    try {
      writeFileSync(join(entry, 'entry.ts'), ENTRY);
      await bundle(join(entry.slice(repoRoot.length + 1), 'entry.ts'), join(dir, 'out.mjs'));
    } finally {
      rmSync(entry, { recursive: true });
    }
    const said = JSON.parse(await execOk([process.execPath, join(dir, 'out.mjs'), `http://127.0.0.1:${port}/x?y=1`]));
    server.close();
    expect(said).to.deep.include({ signatureBackend: 'ethers', held: true, server: 'function' });
    expect(said).to.deep.include({ status: 418, heard: 'GET /x?y=1 b' });
    // what native secp256k1 says of the same key
    expect(said.address).to.equal('0x17c5185167401eD00cF5F5b2fc97D9BBfDb7D025');
  });

  it('hold every program; the agent without the parts of undici that are no client', async () => {
    await buildAll(dir);
    expect(readdirSync(dir).sort()).to.deep.equal(Object.keys(PROGRAMS).sort());
    for (const file of ['operator.mjs', 'agent.mjs'])
      expect(readFileSync(join(dir, file), 'latin1'), `${file}: all ASCII, or V8 keeps it twice as large`).to.match(
        /^[ -~\s]*$/,
      );
    expect(readFileSync(join(dir, 'agent.mjs'), 'utf8')).not.to.contain('node_modules/undici/lib/mock/');
    expect(await execOk([process.execPath, join(dir, 'resultity.mjs'), '--version'])).to.match(/^\d+\.\d+\.\d+/);
  });
});
