import { Command } from 'commander';
import { stringify } from 'yaml';
import { openRoot } from '../config/index.ts';
import {
  type Address,
  type BindMessage,
  checksumAddress,
  type Domain,
  domainOf,
  type Hex32,
  isSignatureForm,
  newNonce,
  parseAddress,
  parseStrictJson,
  type Signature,
  STRUCTS,
  sha256Hex,
  verifyStruct,
  zAddress,
  zHex32,
  zUint,
} from '../protocol/index.ts';
import { type Io, parseTime, readNamedFile, UsageError } from './program.ts';

interface Flags {
  readonly root: string;
  readonly node?: string;
  readonly owner?: string;
  readonly expires?: number;
  readonly request?: string;
  readonly signature?: string;
  readonly secret?: string;
  readonly namespace?: string;
}

/** What the owner's wallet signs. */
interface BindRequest {
  readonly owner: Address;
  readonly node: Address;
  readonly nonce: Hex32;
  readonly expiresAt: number;
}

/** The network takes a Bind of at most 24 h; an hour is left for the two clocks and the way. */
const HOURS = 23;

/**
 * `resultity identity bind`: the owner's proof for a node (docs/protocol.md §2, Owner). The wallet signs offline: without
 * --signature the command prints what is to be signed, with it the file that the agent hands to the network.
 */
export const bindCommand = (io: Io): Command =>
  new Command('bind')
    .description('prove who owns a node: print what the owner’s wallet signs, then turn its signature into bind.json')
    .requiredOption('--root <file>', 'the network’s pinned root')
    .option('--node <address>', 'the node’s address')
    .option('--owner <address>', 'the wallet that owns it, as in spec.owner.wallet')
    .option('--expires <time>', 'until when the network takes it, at most 24 h ahead (default 23 h)', parseTime)
    .option('--request <file>', 'what an earlier call printed and the wallet signed; - for stdin')
    .option('--signature <hex>', 'the wallet’s signature over it')
    .option('--secret <name>', 'print a Secret of this name for kubectl apply, not the bare bind.json')
    .option('--namespace <name>', 'the Secret’s namespace')
    .action(async (flags: Flags) => {
      const { document } = openRoot(await readNamedFile(flags.root, 'the root'), flags.root);
      const { network, chainId } = document;
      const signing = flags.request !== undefined || flags.signature !== undefined;
      for (const line of signing
        ? await signed(flags, domainOf(network, chainId), io)
        : [JSON.stringify(typedData(network, chainId, requested(flags, io.now())), null, 2)])
        io.out(line);
    });

const address = (text: string | undefined, flag: string): Address => {
  if (text === undefined) throw new UsageError(`say ${flag} ADDRESS`);
  try {
    return parseAddress(text);
  } catch {
    throw new UsageError(`${flag} ${text} is no address`);
  }
};

const requested = (flags: Flags, now: number): BindRequest => {
  const expiresAt = flags.expires ?? now + HOURS * 3_600_000;
  if (expiresAt <= now || expiresAt > now + 24 * 3_600_000)
    throw new UsageError('--expires must be within the next 24 hours: the network takes nothing longer');
  return {
    owner: address(flags.owner, '--owner'),
    node: address(flags.node, '--node'),
    nonce: newNonce(),
    expiresAt,
  };
};

/** The argument of eth_signTypedData_v4. */
const typedData = (network: string, chainId: number, message: BindRequest): object => ({
  types: {
    EIP712Domain: [
      { name: 'name', type: 'string' },
      { name: 'version', type: 'string' },
      { name: 'chainId', type: 'uint256' },
      { name: 'salt', type: 'bytes32' },
    ],
    Bind: STRUCTS.Bind.split(',').map((field) => {
      const [type, name] = field.split(' ');
      return { name, type };
    }),
  },
  primaryType: 'Bind',
  domain: { name: 'Resultity', version: '1', chainId, salt: `0x${sha256Hex(network).slice('sha256:'.length)}` },
  message,
});

/** Lines of bind.json or of the Secret. @throws UsageError when the signature is not the owner's over that request */
const signed = async (flags: Flags, domain: Domain, io: Io): Promise<string[]> => {
  if (flags.request === undefined || flags.signature === undefined)
    throw new UsageError('--request FILE (what was signed) and --signature HEX go together');
  const text = flags.request === '-' ? await io.stdin() : await readNamedFile(flags.request, 'the request');
  const { owner, node, nonce, expiresAt } = readRequest(text, flags.request);
  const sig = wireSignature(flags.signature);
  if (!verifyStruct(domain, 'Bind', { owner, node, nonce, expiresAt }, sig, owner))
    throw new UsageError(
      `the signature is not ${checksumAddress(owner)}’s over this request: sign exactly what the command printed, with that wallet, and give the same --root`,
    );
  const bind: BindMessage = { owner, nonce, expiresAt, sig };
  io.err(
    `owner ${checksumAddress(owner)} of node ${checksumAddress(node)}: register before ${new Date(expiresAt).toISOString()}`,
  );
  if (flags.secret === undefined) return [JSON.stringify(bind)];
  io.err(`then set spec.owner.wallet and spec.owner.bindSecretRef.name: ${flags.secret}`);
  const secret = {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: flags.secret, ...(flags.namespace === undefined ? {} : { namespace: flags.namespace }) },
    type: 'Opaque',
    stringData: { 'bind.json': JSON.stringify(bind) },
  };
  return [stringify(secret).trimEnd()];
};

const readRequest = (text: string, name: string): BindRequest => {
  try {
    const { message } = parseStrictJson(text) as { message: Record<string, unknown> };
    return {
      owner: zAddress.parse(message.owner),
      node: zAddress.parse(message.node),
      nonce: zHex32.parse(message.nonce),
      expiresAt: zUint.parse(message.expiresAt),
    };
  } catch {
    throw new UsageError(`${name} is not what this command printed`);
  }
};

/** Wallets write v as 0, 1, 27 or 28 and hex in either case; the protocol knows one form. */
const wireSignature = (text: string): Signature => {
  const hex = text.trim().toLowerCase();
  const sig = hex.replace(/0([01])$/, (_, v: string) => (v === '0' ? '1b' : '1c'));
  if (!/^0x[0-9a-f]{130}$/.test(hex) || !isSignatureForm(sig))
    throw new UsageError('--signature is 0x and 130 hex digits, r‖s‖v with the low s');
  return sig;
};
