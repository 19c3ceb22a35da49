/**
 * Makes the golden vectors of test/vectors with ethers alone: nothing of src/ is imported, so that what they are checked
 * with (src/protocol) is a second path. They are frozen: run this only to add a vector, and review the diff.
 *   node hack/vectors.ts
 */
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { sha256, TypedDataEncoder, toUtf8Bytes, Wallet } from 'ethers';

const network = 'vectors-net';
const chainId = 31337;
const h = (text: string | Uint8Array): string => createHash('sha256').update(text).digest('hex');
const node = new Wallet(`0x${h('node key of the vectors')}`);
const online = new Wallet(`0x${h('online key of the vectors')}`);
const owner = new Wallet(`0x${h('owner key of the vectors')}`);
const domain = { name: 'Resultity', version: '1', chainId, salt: sha256(toUtf8Bytes(network)) };
const address = (w: Wallet): string => w.address.toLowerCase();

const TYPES: Record<string, string> = {
  Frame: 'string type,address node,bytes32 sid,uint64 seq,uint64 ts,bytes32 bodyHash',
  Request: 'string method,string authority,string path,address node,uint64 ts,bytes32 nonce,bytes32 bodyHash',
  JobResult:
    'string jobId,uint32 attempt,address node,string model,bytes32 modelDigest,bytes32 configDigest,bytes32 requestHash,bytes32 outputHash,uint32 promptTokens,uint32 completionTokens,string finishReason,uint64 finishedAt',
  JobReceipt:
    'string jobId,uint32 attempt,address node,bytes32 resultHash,string verdict,uint64 rootVersion,uint64 receivedAt',
  ConfigSnapshot:
    'string network,uint64 epoch,uint64 version,bytes32 digest,uint64 size,uint64 issuedAt,uint64 expiresAt,uint64 rootVersion,bytes32 rollbackOf',
  ConfigTicket: 'string network,uint64 epoch,uint64 version,bytes32 digest,uint64 issuedAt,uint64 expiresAt',
  Root: 'string network,uint64 version,uint64 epoch,bytes32 documentHash',
  Bind: 'address owner,address node,bytes32 nonce,uint64 expiresAt',
};
const typesOf = (name: string): Record<string, { name: string; type: string }[]> => ({
  [name]: (TYPES[name] ?? '').split(',').map((f) => {
    const [type = '', field = ''] = f.split(' ');
    return { name: field, type };
  }),
});
const sign = async (wallet: Wallet, name: string, message: Record<string, unknown>) => ({
  digest: TypedDataEncoder.hash(domain, typesOf(name), message),
  signature: await wallet.signTypedData(domain, typesOf(name), message),
  signer: address(wallet),
});

const ts = 1795255200000;
const hex32 = (text: string): string => `0x${h(text)}`;
const messages: [string, Wallet, Record<string, unknown>][] = [
  [
    'Frame',
    node,
    { type: 'node/heartbeat', node: address(node), sid: hex32('sid'), seq: 3, ts, bodyHash: hex32('{}') },
  ],
  [
    'Frame',
    online,
    { type: 'net/job.offer', node: address(node), sid: hex32('sid'), seq: 9007199254740991, ts, bodyHash: hex32('') },
  ],
  [
    'Request',
    node,
    {
      method: 'POST',
      authority: 'io.network.resultity.com',
      path: '/v1/register?x=1',
      node: address(node),
      ts,
      nonce: hex32('nonce'),
      bodyHash: hex32('{"a":1}'),
    },
  ],
  [
    'JobResult',
    node,
    {
      jobId: '01JDVECTOR',
      attempt: 2,
      node: address(node),
      model: 'smollm2-135m-instruct:v1',
      modelDigest: hex32('model'),
      configDigest: hex32('config'),
      requestHash: hex32('request'),
      outputHash: hex32('The capital of France is Paris.'),
      promptTokens: 31,
      completionTokens: 4294967295,
      finishReason: 'stop',
      finishedAt: ts,
    },
  ],
  [
    'JobReceipt',
    online,
    {
      jobId: '01JDVECTOR',
      attempt: 2,
      node: address(node),
      resultHash: hex32('result'),
      verdict: 'accepted',
      rootVersion: 3,
      receivedAt: ts + 5,
    },
  ],
  [
    'ConfigSnapshot',
    owner,
    {
      network,
      epoch: 1,
      version: 41,
      digest: hex32('snapshot'),
      size: 1234,
      issuedAt: ts,
      expiresAt: ts + 86400000,
      rootVersion: 3,
      rollbackOf: `0x${'0'.repeat(64)}`,
    },
  ],
  [
    'ConfigTicket',
    online,
    { network, epoch: 1, version: 41, digest: hex32('snapshot'), issuedAt: ts, expiresAt: ts + 3600000 },
  ],
  ['Root', owner, { network, version: 3, epoch: 1, documentHash: hex32('document') }],
  ['Bind', owner, { owner: address(owner), node: address(node), nonce: hex32('bind'), expiresAt: ts + 86400000 }],
];
const structs = await Promise.all(
  messages.map(async ([struct, wallet, message]) => ({ struct, message, ...(await sign(wallet, struct, message)) })),
);

const zero32 = `0x${'0'.repeat(64)}`;
const zeroAddress = `0x${'0'.repeat(40)}`;
const serverNonce = hex32('server nonce');
const clientNonce = hex32('client nonce');
const sid = `0x${h(Buffer.from(serverNonce.slice(2) + clientNonce.slice(2) + address(node).slice(2), 'hex'))}`;
const job = { jobId: '01JDVECTOR', attempt: 1 };
const config = { epoch: 1, version: 41, digest: `sha256:${h('snapshot')}` };
const { struct: _s, digest: _d, signature: resultSig, signer: _n, message: result } = structs[3] ?? never();
function never(): never {
  throw new Error('no such vector');
}
const inJson = (m: Record<string, unknown>, names: string[]): Record<string, unknown> =>
  Object.fromEntries(Object.entries(m).map(([k, v]) => [k, names.includes(k) ? `sha256:${String(v).slice(2)}` : v]));
const frames: [string, string, object][] = [
  ['net', 'challenge', { serverNonce, limits: { frameBytes: 1048576 }, rootVersion: 3 }],
  [
    'node',
    'hello',
    {
      node: address(node),
      clientNonce,
      audience: 'io.network.resultity.com',
      bootId: 'boot-1',
      incarnation: ts,
      versions: { agent: '0.1.0', runtime: '0.32.0', protocol: ['1'] },
      config: null,
      capacity: { slots: 16, queue: 32 },
      models: ['smollm2-135m-instruct:v1'],
      jobs: [{ ...job, state: 'running', deltas: 2 }],
    },
  ],
  [
    'net',
    'welcome',
    {
      sid,
      serverTime: ts,
      state: 'registered',
      protocol: ['1'],
      heartbeatMs: 15000,
      config,
      jobs: [{ ...job, deltas: 2 }],
    },
  ],
  [
    'node',
    'heartbeat',
    {
      bootId: 'boot-1',
      uptimeMs: 1000,
      versions: { agent: '0.1.0', runtime: '0.32.0' },
      images: null,
      config: { ...config },
      models: [{ model: 'smollm2-135m-instruct:v1', digest: `sha256:${h('model')}`, state: 'active', loaded: true }],
      hardware: { gpus: [], memoryMiB: 24000, memoryUsedMiB: 1000, disk: { totalMiB: 100, freeMiB: 50 } },
      runtime: { healthy: true, phase: 'ready', running: 0, waiting: 0 },
      capacity: { slots: 16, queue: 32 },
      used: 0,
      isolation: { tier: 'sandbox', provedAt: ts },
      clockOffsetMs: -3,
      subclouds: [],
      errors: [],
    },
  ],
  [
    'net',
    'job.offer',
    {
      ...job,
      kind: 'chat.completions',
      model: 'smollm2-135m-instruct:v1',
      modelDigest: `sha256:${h('model')}`,
      configDigest: config.digest,
      stream: true,
      priority: 5,
      deadline: ts + 300000,
      request: {
        model: 'smollm2-135m-instruct:v1',
        messages: [{ role: 'user', content: 'größer als 1 € 🙂\nnächste Zeile' }],
        temperature: 0,
      },
    },
  ],
  ['node', 'job.accept', job],
  ['node', 'job.reject', { ...job, code: 'at_capacity' }],
  ['node', 'job.progress', { ...job, phase: 'decode', tokens: 5 }],
  ['node', 'job.delta', { ...job, from: 0, lines: ['{"id":"a","choices":[]}', '{"id":"b"}'] }],
  [
    'node',
    'job.result',
    {
      result: inJson(result, ['modelDigest', 'configDigest', 'requestHash', 'outputHash']),
      sig: resultSig,
      output: 'The capital of France is Paris.',
    },
  ],
  ['net', 'job.receipt', { receipt: structs[4]?.message, sig: structs[4]?.signature, signer: address(online) }],
  ['node', 'job.lost', { ...job, reason: 'engine_crash' }],
  ['net', 'job.cancel', { ...job, reason: 'client_gone' }],
  ['net', 'config.notice', config],
  ['node', 'config.ack', { ...config, state: 'applied' }],
  ['net', 'control', { action: 'drain', reason: 'maintenance', graceMs: 60000 }],
  ['node', 'error', { code: 'unknown_type', message: 'x' }],
  ['node', 'bye', { reason: 'drained' }],
];
const seqs = { net: 0, node: 0 };
const framed = [];
for (const [direction, t, body] of frames) {
  const seq = ++seqs[direction as 'net' | 'node'];
  const before = t === 'challenge';
  const payload = JSON.stringify(body);
  const keys = before ? { sid: zero32, node: zeroAddress } : { sid, node: address(node) };
  const signed = await sign(direction === 'net' ? online : node, 'Frame', {
    type: `${direction}/${t}`,
    ...keys,
    seq,
    ts,
    bodyHash: hex32(payload),
  });
  framed.push({
    direction,
    keys,
    signer: signed.signer,
    frame: `${JSON.stringify({ v: 1, t, seq, ts, sig: signed.signature })}\n${payload}`,
  });
}

const request = {
  method: 'POST',
  authority: 'io.network.resultity.com',
  path: '/v1/heartbeat',
  body: '{"bootId":"boot-1"}',
};
const auth = { node: address(node), ts, nonce: hex32('call nonce') };
const call = await sign(node, 'Request', {
  method: request.method,
  authority: request.authority,
  path: request.path,
  ...auth,
  bodyHash: hex32(request.body),
});

const files = [
  { path: 'b/model.safetensors', sha256: h('weights'), size: 7 },
  { path: 'config.json', sha256: h('{}'), size: 2 },
  { path: 'a.txt', sha256: h('a'), size: 1 },
];
const sorted = [...files].sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)));

mkdirSync('test/vectors', { recursive: true });
const write = (name: string, value: unknown): void =>
  writeFileSync(`test/vectors/${name}.json`, `${JSON.stringify(value, null, 1)}\n`);
write('structs', {
  network,
  chainId,
  keys: { node: node.privateKey, online: online.privateKey, owner: owner.privateKey },
  structs,
});
write('frames', { network, chainId, serverNonce, clientNonce, node: address(node), sid, frames: framed });
write('calls', {
  network,
  chainId,
  request,
  header: JSON.stringify({ v: 1, ...auth, sig: call.signature }),
  signer: call.signer,
});
write('digests', {
  model: {
    files,
    digest: `sha256:${h(`[${sorted.map((f) => `{"path":${JSON.stringify(f.path)},"sha256":"${f.sha256}","size":${f.size}}`).join(',')}]`)}`,
  },
  canonical: [
    {
      value: { b: 1, a: [true, null, 1e21, 0.000001, 1e-7, -0], é: '\u20ac\u0000', '\u{1f600}': 1, '\ufb33': 2 },
      text: '{"a":[true,null,1e+21,0.000001,1e-7,0],"b":1,"é":"€\\u0000","\u{1f600}":1,"\ufb33":2}',
    },
  ],
});
