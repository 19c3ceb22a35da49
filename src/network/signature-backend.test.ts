import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { testSigner } from '../../test/support/signer-kit.ts';

const DIGEST = Buffer.alloc(32, 5);

/** What a process says in which the native library is what `library` makes of it (an expression over `real`). */
const inProcess = (library: string): { backend: string; sig: string; address: string; metrics: string } => {
  const dir = mkdtempSync(join(tmpdir(), 'resultity-backend-'));
  try {
    const preload = join(dir, 'preload.cjs');
    writeFileSync(
      preload,
      `const Module = require('node:module');
       const load = Module._load;
       Module._load = function (name, ...rest) {
         if (name !== 'secp256k1/bindings') return load.call(this, name, ...rest);
         const real = load.call(this, name, ...rest);
         return ${library};
       };`,
    );
    const program = `
      const { createSigner, recoverAddress, signatureBackend } = await import('./src/protocol/index.ts');
      const { networkMetrics } = await import('./src/network/metrics.ts');
      const { Metrics } = await import('./src/lib/metrics.ts');
      const { testSigner } = await import('./test/support/signer-kit.ts');
      const metrics = new Metrics();
      networkMetrics(metrics);
      const digest = Buffer.alloc(32, 5);
      const sig = testSigner('node').sign(digest);
      const told = { backend: signatureBackend, sig, address: recoverAddress(digest, sig), metrics: await metrics.text() };
      process.stdout.write(JSON.stringify(told));`;
    const done = spawnSync(process.execPath, ['--require', preload, '--input-type=module', '--eval', program], {
      cwd: join(import.meta.dirname, '../..'),
      encoding: 'utf8',
    });
    expect(done.status, done.stderr).to.equal(0);
    return JSON.parse(done.stdout);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
};

describe('the curve library of the service', function () {
  this.timeout(60_000);
  const cases: [name: string, library: string, backend: string][] = [
    ['native where it loads and passes its test', 'real', 'native'],
    ['ethers where the native one does not load', `(() => { throw new Error('wrong ELF class'); })()`, 'ethers'],
    [
      'ethers where the native one signs wrongly',
      '{ ...real, ecdsaSign: (d, k) => { const s = real.ecdsaSign(d, k); s.recid ^= 1; return s; } }',
      'ethers',
    ],
    [
      'ethers where the native one recovers wrongly',
      '{ ...real, ecdsaRecover: (...a) => { const p = Buffer.from(real.ecdsaRecover(...a)); p[9] ^= 1; return p; } }',
      'ethers',
    ],
  ];
  for (const [name, library, backend] of cases)
    it(`is ${name}; the metric says so, and signatures are the same`, () => {
      const told = inProcess(library);
      expect(told.backend).to.equal(backend);
      expect(told.metrics).to.contain(`resultity_network_signature_backend_info{backend="${backend}"} 1`);
      expect(told.sig).to.equal(testSigner('node').sign(DIGEST));
      expect(told.address).to.equal(testSigner('node').address);
    });
});
