import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { modelDigest } from '../../src/protocol/index.ts';
import { AgentRig } from '../support/agent-rig.ts';
import { FileSource } from '../support/file-source.ts';
import { LeapClock } from '../support/leap-clock.ts';
import { MINI_MODEL, MiniNetwork } from '../support/mini-network.ts';
import { until } from '../support/until.ts';

const weights = randomBytes(1_000_000);
const sha256 = createHash('sha256').update(weights).digest('hex');
const files = [{ path: 'model.safetensors', size: weights.length, sha256 }];
const digest = modelDigest(files);

/** One agent with a network of its own, as another owner's pod on the same machine has. */
class Tenant {
  readonly clock = new LeapClock();
  readonly network = new MiniNetwork();
  rig!: AgentRig;

  async start(source: FileSource, key: string, models: string | undefined): Promise<this> {
    await this.network.listen();
    this.publish([this.network.model({ files, digest, sources: [source.url] })]);
    const { endpoint, kit } = this.network;
    const privateKey = `0x${key.repeat(32)}`;
    this.rig = new AgentRig({
      endpoint,
      network: 'testnet',
      pinnedRoot: kit.pinnedRoot,
      clock: this.clock,
      privateKey,
    });
    if (models !== undefined) this.rig.paths.models = models;
    await this.rig.startAgent();
    this.rig.startLauncher();
    return this;
  }
  publish(models: object[]): void {
    const ttl = { heartbeatMs: 15_000, missedHeartbeats: 3, pollMs: 15_000, retryMs: 200, cacheMs: 30_000 };
    this.network.publish({ models, ttl });
  }
  state(): string | undefined {
    const status = this.rig.agent?.view().models.find((m) => m.ref === MINI_MODEL)?.status;
    return status?.state === 'pending' ? `pending ${status.reason}` : status?.state;
  }
  async close(): Promise<void> {
    await this.rig?.close();
    await this.network.close();
  }
}

describe('two agents that share a models folder', function () {
  this.timeout(90_000);
  let source: FileSource;
  let tenants: Tenant[];

  /**
   * Small leaps of all clocks: no socket lives through 40 s of silence. Each waits for the renewals of the model's users,
   * which are due every 5 s.
   */
  const pass = async (rounds: number): Promise<void> => {
    const models = tenants[0]?.rig.paths.models as string;
    const users = (): string[] => readdirSync(models).filter((name) => name.includes('.use.'));
    const texts = (): string[] => users().map((name) => readFileSync(join(models, name), 'utf8'));
    for (let n = 0; n < rounds; n++) {
      const before = texts();
      for (const { clock, network } of tenants) {
        clock.leap(15_000);
        network.skewMs += 15_000;
      }
      await until('all users renewed', () => texts().every((text) => !before.includes(text)));
    }
  };

  beforeEach(async () => {
    tenants = [];
    source = await new FileSource().listen();
    source.files.set('model.safetensors', weights);
  });
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') for (const t of tenants) process.stderr.write(t.rig.logs.join(''));
    const folder = join(tenants[0]?.rig.paths.models as string, digest.replace(':', '-'));
    if (existsSync(folder)) chmodSync(folder, 0o755);
    source.close();
    for (const tenant of tenants.toReversed()) await tenant.close();
  });

  it('download once, go on with each other’s part, and remove nothing that the other has in its engine', async () => {
    // the source stops in the middle for the first one
    source.before = (req, res) => {
      if (source.asked.length > 1) return false;
      res.writeHead(200, { 'content-length': weights.length });
      res.write(weights.subarray(0, 400_000));
      source.sent += 400_000;
      return req.method === 'GET';
    };
    const one = new Tenant();
    tenants.push(one);
    await one.start(source, '41', undefined);
    const models = one.rig.paths.models as string;
    const folder = join(models, digest.replace(':', '-'));
    await until('the first downloads', () => one.state() === 'pending downloading' && source.sent === 400_000, 20_000);
    const two = new Tenant();
    tenants.push(two);
    await two.start(source, '43', models);
    await until('the second waits', () => two.state() === 'pending queued', 20_000);
    expect(source.asked).to.have.length(1);

    await one.rig.agent?.kill();
    await pass(1);
    await until('the second serves it', () => two.rig.agent?.view().loaded === MINI_MODEL, 30_000);
    expect(source.asked).to.have.length(2);
    expect(source.asked[1]?.range).to.match(/^bytes=[1-9]/);
    expect(source.sent).to.be.within(weights.length, weights.length + 400_000);

    await one.rig.startAgent();
    await until('the first serves it too', () => one.rig.agent?.view().loaded === MINI_MODEL, 30_000);
    expect(source.asked, 'what lies there was hashed, not fetched').to.have.length(2);
    const { ino } = statSync(folder);

    // the first one's network lists it no more
    one.publish([]);
    await pass(1);
    await until('the first lets go', () => one.rig.agent?.view().loaded === null, 20_000);
    await pass(8);
    expect(statSync(folder).ino, 'the second has it in its engine').to.equal(ino);
    expect(two.rig.agent?.view().loaded).to.equal(MINI_MODEL);
    await two.rig.agent?.stop();
    await until('now it goes', async () => {
      await pass(1);
      return !existsSync(folder);
    });
    await until('and nothing of it stays', () => readdirSync(models).every((name) => name.includes('.lock.')));
  });
});
