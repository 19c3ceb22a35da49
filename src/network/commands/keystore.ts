import { readFile } from 'node:fs/promises';
import { decryptKeystoreJson, encryptKeystoreJson } from 'ethers/wallet';
import { CodedError } from '../../lib/errors.ts';
import { Secret } from '../../lib/secret.ts';
import { checksumAddress, createSigner, generatePrivateKey, type Signer } from '../../protocol/index.ts';

/** scrypt cost of key files: 2^17, as wallets use it. */
export const SCRYPT_N = 131_072;

export interface NewKey {
  readonly signer: Signer;
  readonly privateKey: Secret;
}

export const newKey = (): NewKey => {
  const privateKey = generatePrivateKey();
  return { privateKey, signer: createSigner(privateKey) };
};

/** An encrypted keystore (Web3 Secret Storage v3), which every wallet reads. */
export const encryptKey = async (
  { signer, privateKey }: NewKey,
  password: Secret,
  scryptN: number,
): Promise<string> => {
  const account = { address: checksumAddress(signer.address), privateKey: privateKey.reveal() };
  const text = await encryptKeystoreJson(account, password.reveal(), { scrypt: { N: scryptN, r: 8, p: 1 } });
  return `${JSON.stringify(JSON.parse(text), null, 2)}\n`;
};

/**
 * A signer from a key file: a keystore, or a bare private key in hex. `password` is asked only for a keystore.
 * @throws CodedError `bad_key`, `bad_password`
 */
export const openKey = async (path: string, password: () => Promise<Secret>): Promise<Signer> => {
  const text = await readFile(path, 'utf8');
  if (!text.trimStart().startsWith('{')) return createSigner(new Secret(text.trim()));
  const secret = await password();
  let account: { privateKey: string };
  try {
    account = await decryptKeystoreJson(text, secret.reveal());
  } catch (error) {
    throw new CodedError('bad_password', `${path} does not open with this password`, { cause: error });
  }
  return createSigner(new Secret(account.privateKey));
};
