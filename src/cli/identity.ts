import { chmod, writeFile } from 'node:fs/promises';
import { Command } from 'commander';
import { Wallet } from 'ethers';
import { z } from 'zod';
import { KEY, LABEL } from '../api/contract.ts';
import { bounded, keySecretName } from '../api/index.ts';
import { CodedError, errorText, Secret } from '../lib/index.ts';
import { type Address, checksumAddress, createSigner } from '../protocol/index.ts';
import { type Cluster, type ClusterFlags, clusterOptions, withCluster } from './cluster.ts';
import { KIND } from './kinds.ts';
import { type Io, readNamedFile, UsageError } from './program.ts';

interface ExportFlags extends ClusterFlags {
  readonly to: string;
  readonly passphraseFile?: string;
  readonly plain?: boolean;
}
interface ImportFlags extends ClusterFlags {
  readonly from: string;
  readonly passphraseFile?: string;
}

/** `identity export|import`: a node's key into a backup file and back. The key is never shown. */
export const identityCommand = (io: Io): Command => {
  const identity = new Command('identity').description('the key of a node: back up, restore, prove who owns it');
  identity.addCommand(
    clusterOptions(
      new Command('export').description('write the node’s key to a file').argument('<node>', 'a ResultityNode'),
    )
      .requiredOption('--to <file>', 'the backup file; it must not exist')
      .option('--passphrase-file <file>', 'encrypt with the passphrase in this file (an Ethereum keystore, version 3)')
      .option('--plain', 'write it unencrypted')
      .action((name: string, flags: ExportFlags) => {
        if ((flags.plain === true) === (flags.passphraseFile !== undefined))
          throw new UsageError('give one of --passphrase-file FILE (encrypted) or --plain');
        return withCluster(io, flags, (cluster) => exportKey(cluster, name, flags));
      }),
  );
  identity.addCommand(
    clusterOptions(
      new Command('import')
        .description('make the Secret with a node’s key out of a backup')
        .argument('<node>', 'name of the ResultityNode, which may be applied later'),
    )
      .requiredOption('--from <file>', 'the backup file')
      .option('--passphrase-file <file>', 'the passphrase of an encrypted backup')
      .action((name: string, flags: ImportFlags) =>
        withCluster(io, flags, (cluster) => importKey(cluster, name, flags)),
      ),
  );
  return identity;
};

const passphrase = async (file: string | undefined): Promise<string> => {
  if (file === undefined) throw new UsageError('the backup is encrypted: give --passphrase-file FILE');
  const text = (await readNamedFile(file, 'the passphrase')).replace(/\r?\n$/, '');
  if (text === '') throw new UsageError(`the passphrase file ${file} is empty`);
  return text;
};

const exportKey = async (c: Cluster, name: string, flags: ExportFlags): Promise<void> => {
  const node = await c.get(KIND.node, name);
  const nodeId = node.status?.nodeId;
  const secretName =
    node.spec.identity.secretRef?.name ?? (nodeId === undefined ? undefined : keySecretName(name, nodeId));
  if (secretName === undefined)
    throw new CodedError('no_identity', `${name} has no key yet: the operator makes one before the first pod`);
  const secret = await c.get(KIND.secret, secretName);
  const key = new Secret(
    Buffer.from(secret.data?.[KEY.privateKey] ?? '', 'base64')
      .toString()
      .trim(),
  );
  const address = addressOf(key, `the Secret ${secretName}`);
  if (nodeId !== undefined && nodeId.toLowerCase() !== address)
    throw new CodedError(
      'identity_mismatch',
      `the Secret ${secretName} holds the key of ${address}, not of ${nodeId}: nothing is written`,
    );
  const text =
    flags.plain === true
      ? `${JSON.stringify({ nodeId: checksumAddress(address), privateKey: key.reveal() }, null, 2)}\n`
      : `${await new Wallet(key.reveal()).encrypt(await passphrase(flags.passphraseFile))}\n`;
  try {
    await writeFile(flags.to, text, { flag: 'wx', mode: 0o600 });
    await chmod(flags.to, 0o600);
  } catch (error) {
    throw new UsageError(`${flags.to} cannot be written (${errorText(error)}); name a file that does not exist`);
  }
  c.io.out(
    `wrote the key of ${name}, ${checksumAddress(address)}, to ${flags.to}${flags.plain === true ? ', unencrypted: keep it where nobody else reads' : ''}`,
  );
};

const zPlain = z.object({ privateKey: z.string() });

const importKey = async (c: Cluster, name: string, flags: ImportFlags): Promise<void> => {
  const key = await readBackup(flags);
  const address = addressOf(key, `the backup ${flags.from}`);
  const node = await c.find(KIND.node, name);
  const nodeId = node?.status?.nodeId;
  if (nodeId !== undefined && nodeId.toLowerCase() !== address)
    throw new CodedError(
      'identity_mismatch',
      `${name} is ${nodeId} and the backup holds the key of ${checksumAddress(address)}: a node never becomes another one; make another ResultityNode`,
    );
  const wanted = node?.spec.identity.secretRef?.name ?? keySecretName(name, address);
  if ((await c.find(KIND.secret, wanted)) !== undefined)
    throw new CodedError('exists', `the Secret ${wanted} is there already; nothing is changed`);
  await c.create(KIND.secret, {
    metadata: {
      name: wanted,
      namespace: c.namespace,
      annotations: { 'resultity.com/node-id': address },
      labels: { 'app.kubernetes.io/part-of': 'resultity', [LABEL.role]: 'key', [LABEL.node]: bounded(name) },
    },
    type: 'Opaque',
    immutable: true,
    stringData: { [KEY.privateKey]: key.reveal() },
  });
  const restored = nodeId !== undefined || node?.spec.identity.secretRef?.name === wanted;
  c.io.out(
    restored
      ? `restored the key of ${name}, ${checksumAddress(address)}; the node goes on by itself`
      : `made the Secret ${wanted} with the key of ${checksumAddress(address)}; write spec.identity.secretRef.name: ${wanted} into the ResultityNode ${name}`,
  );
};

const readBackup = async (flags: ImportFlags): Promise<Secret> => {
  const text = await readNamedFile(flags.from, 'the backup');
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    throw new UsageError(`${flags.from} is no backup: it is not JSON`);
  }
  const plain = zPlain.safeParse(content);
  if (plain.success) return new Secret(plain.data.privateKey);
  try {
    return new Secret((await Wallet.fromEncryptedJson(text, await passphrase(flags.passphraseFile))).privateKey);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new CodedError('bad_backup', `${flags.from} cannot be opened: it is no backup, or the passphrase is wrong`);
  }
};

/** @throws CodedError that never holds the key itself */
const addressOf = (key: Secret, where: string): Address => {
  try {
    return createSigner(key).address;
  } catch {
    throw new CodedError('bad_key', `${where} holds no private key (0x and 64 hex digits)`);
  }
};
