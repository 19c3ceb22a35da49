import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { SignerKit, testModel, testSigner } from '../../test/support/signer-kit.ts';
import {
  FileStateStore,
  type MadeSnapshot,
  signRoot,
  signSnapshot,
  signTicket,
  updateConfig,
} from '../config/index.ts';
import { type ConfigAnswer, canonicalJson, type Refusal, type SnapshotStruct } from '../protocol/index.ts';
import { buildProgram, type Io, runCommand } from './index.ts';

const DAY = 86_400_000;

/** What is wrong with a network's answers; each flag is one fault. */
type Fault =
  | 'floor'
  | 'pinned'
  | 'chain'
  | 'form'
  | 'snapshotSignatures'
  | 'ticketSignatures'
  | 'mismatch'
  | 'stale'
  | 'expired'
  | 'epoch'
  | 'withheld'
  | 'rollback'
  | 'size'
  | 'bytes'
  | 'document';

/** docs/protocol.md §7, "Checks run in this order". */
const ORDER: readonly (readonly [Fault, Refusal])[] = [
  ['floor', 'floor_unreadable'],
  ['pinned', 'threshold_not_met'],
  ['chain', 'root_gap'],
  ['form', 'bad_schema'],
  ['snapshotSignatures', 'threshold_not_met'],
  ['ticketSignatures', 'bad_signature'],
  ['mismatch', 'ticket_mismatch'],
  ['stale', 'config_stale'],
  ['expired', 'snapshot_expired'],
  ['epoch', 'wrong_epoch'],
  ['withheld', 'root_withheld'],
  ['rollback', 'rollback'],
  ['size', 'too_large'],
  ['bytes', 'digest_mismatch'],
  ['document', 'bad_schema'],
];

describe('the order of refusals', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'resultity-order-'));
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  /** A node that has accepted version 5, and then a folder of answers with all these faults at once. */
  const verify = async (faults: ReadonlySet<Fault>): Promise<{ code: number; last: string }> => {
    const kit = new SignerKit();
    const state = join(dir, 'state');
    kit.publish({ version: 5 });
    const store = new FileStateStore(state);
    await updateConfig({ pinnedRoot: kit.pinnedRoot, store, source: kit, now: kit.now });
    const pinned = faults.has('pinned')
      ? signRoot(JSON.stringify({ ...JSON.parse(kit.pinnedRoot), signatures: [] }), testSigner('m'))
      : kit.pinnedRoot;
    if (faults.has('floor')) await writeFile(join(state, 'floor.json'), '{"torn');
    const answer = answerWith(kit, faults);
    const from = join(dir, 'network');
    await mkdir(join(from, 'v1/config'), { recursive: true });
    await mkdir(join(from, 'v1/roots'), { recursive: true });
    await writeFile(join(from, 'v1/config.json'), answer);
    if (faults.has('chain')) await writeFile(join(from, 'v1/roots/2.json'), kit.rotate('x', { version: 3 }));
    for (const [digest, bytes] of kit.snapshots)
      await writeFile(join(from, 'v1/config', digest.replace(':', '-')), bytes);
    await writeFile(join(dir, 'root.json'), pinned);
    const err: string[] = [];
    const io: Io = { out: () => {}, err: (l) => err.push(l), stdin: async () => '', color: false, now: () => kit.now };
    const args = ['--root', join(dir, 'root.json'), '--state', state, '--from', from];
    const code = await runCommand(buildProgram(io, '0.0.0'), ['config', 'verify', ...args], io);
    return { code, last: err.at(-1) ?? '' };
  };

  for (const [i, [fault, code]] of ORDER.entries())
    it(`names ${code} for ${fault} though everything after it is wrong too`, async () => {
      const faults = new Set(ORDER.slice(i).map(([f]) => f));
      const { code: exit, last } = await verify(faults);
      expect(last).to.match(new RegExp(`^refused ${code}: `));
      expect(exit).to.equal(1);
    });

  it('accepts the same answers without a fault', async () => {
    expect(await verify(new Set())).to.include({ code: 0 });
  });
});

const answerWith = (kit: SignerKit, faults: ReadonlySet<Fault>): string => {
  const version = faults.has('rollback') ? 4 : 6;
  const text = canonicalJson(
    kit.document({ version, models: [testModel()], ...(faults.has('document') ? { jobs: undefined } : {}) }),
  );
  const over: Partial<SnapshotStruct> = {
    version,
    ...(faults.has('expired') ? { issuedAt: kit.now - 2 * DAY, expiresAt: kit.now } : {}),
    ...(faults.has('epoch') ? { epoch: 2 } : {}),
    ...(faults.has('withheld') ? { rootVersion: 9 } : {}),
    ...(faults.has('size') ? { size: 1_048_577 } : {}),
  };
  const made: MadeSnapshot = kit.publishRaw(text, over);
  if (faults.has('bytes')) kit.snapshots.set(made.snapshot.digest, Buffer.from(text.replace('tiny', 'tony')));
  const answer = JSON.parse(kit.answer ?? '') as ConfigAnswer;
  const ticket = {
    ...answer.ticket,
    ...(faults.has('mismatch') ? { version: 77 } : {}),
    ...(faults.has('stale') ? { issuedAt: kit.now - DAY, expiresAt: kit.now - DAY + 1000 } : {}),
  };
  const [config = testSigner('m')] = kit.keys.config;
  const [ticketKey = testSigner('m')] = kit.keys.ticket;
  const signature = signTicket(kit.domain, ticket, ticketKey);
  return JSON.stringify({
    ...answer,
    ...(faults.has('form') ? { snapshot: 7 } : {}),
    snapshotSignatures: faults.has('snapshotSignatures')
      ? [signSnapshot(kit.domain, made.snapshot, config)]
      : answer.snapshotSignatures,
    ticket,
    ticketSignatures: [faults.has('ticketSignatures') ? { ...signature, sig: `${signature.sig}00` } : signature],
  });
};
