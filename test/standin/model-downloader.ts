/** One agent's share of a model cache, as a process that can be killed: `FOLDER SOURCE MODEL-JSON OWNER`; prints what it does. */
import { Agent } from 'undici';
import { systemClock } from '../../src/lib/clock.ts';
import { downloadModel, type ModelManifest, openShared } from '../../src/models/index.ts';

const [folder = '', source = '', manifest = '', owner = ''] = process.argv.slice(2);
const model: ModelManifest = { ...JSON.parse(manifest), sources: [source] };
const shared = openShared(folder, { owner, boot: String(process.pid), clock: systemClock, renewMs: 50, ttlMs: 400 });
const say = (line: string): void => void process.stdout.write(`${line}\n`);

let waited = false;
const lease = await shared.leases.acquire(shared.store.lockOf(model.digest), {
  onWait: () => {
    if (!waited) say('waits');
    waited = true;
  },
});
await shared.uses.only(new Set([model.digest]));
if (await shared.store.has(model.digest)) say('found');
else {
  let told = false;
  await downloadModel(model, {
    store: shared.store,
    lease,
    dispatcher: new Agent(),
    policy: { trustedSources: ['127.0.0.1'], allowInsecureHosts: [], mirrors: [] },
    reserveBytes: 0,
    onProgress: ({ bytes }) => {
      if (!told && bytes > 0) say('downloads');
      told ||= bytes > 0;
    },
  });
  say(lease.forced ? 'took over' : 'downloaded');
}
await lease.release();
process.exit(0);
