import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { Wallet } from 'ethers';
import { parse } from 'yaml';
import { SignerKit } from '../../test/support/signer-kit.ts';
import { verifyStruct, zBind } from '../protocol/index.ts';
import { buildProgram, type Io, runCommand } from './index.ts';

const NODE = '0x64f39eb885617a9f2ee24b0fe083562fffdebef9';
const wallet = new Wallet(`0x${'17'.repeat(32)}`);

describe('resultity identity bind', () => {
  let dir: string;
  let kit: SignerKit;
  let root: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'resultity-bind-'));
    kit = new SignerKit();
    root = join(dir, 'root.json');
    await writeFile(root, kit.pinnedRoot);
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  const run = async (...args: string[]): Promise<{ code: number; out: string; err: string }> => {
    const out: string[] = [];
    const err: string[] = [];
    const io: Io = {
      out: (l) => out.push(l),
      err: (l) => err.push(l),
      stdin: async () => stdin,
      color: false,
      now: () => kit.now,
    };
    const code = await runCommand(buildProgram(io, '0.0.0'), ['identity', 'bind', '--root', root, ...args], io);
    return { code, out: out.join('\n'), err: err.join('\n') };
  };
  let stdin = '';
  const ask = async (): Promise<string> => {
    const { code, out, err } = await run('--node', NODE, '--owner', wallet.address);
    expect(code, err).to.equal(0);
    return out;
  };
  /** What a wallet does with the argument of eth_signTypedData_v4. */
  const sign = (text: string, by = wallet): Promise<string> => {
    const { domain, types, message } = JSON.parse(text);
    const { EIP712Domain: _, ...structs } = types;
    return by.signTypedData(domain, structs, message);
  };

  it('prints what a wallet signs, and makes of its signature a Bind that holds', async () => {
    const request = await ask();
    expect(JSON.parse(request)).to.include({ primaryType: 'Bind' });
    stdin = request;
    const { code, out, err } = await run('--request', '-', '--signature', await sign(request));
    expect(code, err).to.equal(0);
    const bind = zBind.parse(JSON.parse(out));
    expect(bind.owner).to.equal(wallet.address.toLowerCase());
    expect(bind.expiresAt).to.equal(kit.now + 23 * 3_600_000);
    const message = { ...bind, node: NODE } as const;
    expect(verifyStruct(kit.domain, 'Bind', message, bind.sig, bind.owner)).to.equal(true);
    expect(err).to.contain(wallet.address);
  });
  it('prints a Secret as the node’s owner.bindSecretRef reads it', async () => {
    stdin = await ask();
    const flags = ['--secret', 'gpu-a-bind', '--namespace', 'nodes'];
    const { out } = await run('--request', '-', '--signature', await sign(stdin), ...flags);
    const secret = parse(out);
    expect(secret).to.deep.include({ kind: 'Secret', metadata: { name: 'gpu-a-bind', namespace: 'nodes' } });
    expect(zBind.safeParse(JSON.parse(secret.stringData['bind.json'])).success).to.equal(true);
  });
  it('takes v as 0 and 1 and hex in upper case, as hardware wallets write it', async () => {
    stdin = await ask();
    const sig = await sign(stdin);
    const other = `0x${sig.slice(2, -2).toUpperCase()}${sig.endsWith('1b') ? '00' : '01'}`;
    const { code, out } = await run('--request', '-', '--signature', other);
    expect(code).to.equal(0);
    expect(JSON.parse(out).sig).to.equal(sig);
  });
  it('refuses the signature of another wallet, over another request, or for another network', async () => {
    stdin = await ask();
    const stranger = await sign(stdin, new Wallet(`0x${'18'.repeat(32)}`));
    const own = await sign(stdin);
    expect((await run('--request', '-', '--signature', stranger)).code).to.equal(2);
    stdin = await ask();
    const wrong = await run('--request', '-', '--signature', own);
    expect(wrong.code).to.equal(2);
    expect(wrong.err).to.contain('sign exactly what the command printed');
    const fresh = await sign(stdin);
    await writeFile(root, new SignerKit({ network: 'othernet' }).pinnedRoot);
    expect((await run('--request', '-', '--signature', fresh)).code).to.equal(2);
  });
  it('says what is missing or cannot be meant', async () => {
    const day = new Date(kit.now + 25 * 3_600_000).toISOString();
    expect((await run('--node', NODE, '--owner', wallet.address, '--expires', day)).err).to.contain('24 hours');
    expect((await run('--node', NODE)).err).to.contain('say --owner ADDRESS');
    expect((await run('--node', 'me', '--owner', wallet.address)).err).to.contain('--node me is no address');
    expect((await run('--signature', '0x00')).err).to.contain('--request FILE');
    stdin = '{}';
    expect((await run('--request', '-', '--signature', '0x00')).err).to.contain('not what this command printed');
  });
});
