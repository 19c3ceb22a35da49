import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { networkInterfaces } from 'node:os';
import { expect } from 'chai';
import { systemClock } from '../lib/clock.ts';
import { serveProfiles } from './profile.ts';

describe('serveProfiles', () => {
  let served: Awaited<ReturnType<typeof serveProfiles>>;
  beforeEach(async () => {
    served = await serveProfiles(systemClock, 0);
  });
  afterEach(() => served.close());
  const get = (path: string, host = '127.0.0.1'): Promise<Response> => fetch(`http://${host}:${served.port}${path}`);

  it('gives a CPU profile of what runs meanwhile, one at a time', async () => {
    const both = await Promise.all([get('/debug/cpu?seconds=0.2'), get('/debug/cpu?seconds=0.2')]);
    expect(both.map((r) => r.status).sort()).to.deep.equal([200, 429]);
    const profile = (await both.find((r) => r.ok)?.json()) as { nodes: { callFrame: { functionName: string } }[] };
    expect(profile.nodes.map((n) => n.callFrame.functionName)).to.include('(root)');
    expect((await get('/debug/cpu?seconds=0.01')).status).to.equal(200);
  });

  it('refuses a time without measure, and every other path and method', async () => {
    for (const seconds of ['0', '-1', '61', 'x'])
      expect((await get(`/debug/cpu?seconds=${seconds}`)).status).to.equal(400);
    expect((await get('/debug/')).status).to.equal(404);
    const posted = await fetch(`http://127.0.0.1:${served.port}/debug/heap`, { method: 'POST' });
    expect(posted.status).to.equal(404);
  });

  it('gives a heap snapshot', async function () {
    this.timeout(60_000);
    // of a process with little on its heap: the one of all suites takes a minute
    const [profile, clock] = ['./profile.ts', '../lib/clock.ts'].map((file) => new URL(file, import.meta.url).href);
    const script = `const [{ serveProfiles }, { systemClock }] = await Promise.all([import('${profile}'), import('${clock}')]);
      console.log((await serveProfiles(systemClock, 0)).port);`;
    const other = spawn(process.execPath, ['--input-type=module', '--eval', script]);
    try {
      const [port] = await once(other.stdout, 'data');
      const answer = await fetch(`http://127.0.0.1:${String(port).trim()}/debug/heap`);
      expect(Object.keys((await answer.json()) as object)).to.include.members(['snapshot', 'nodes', 'strings']);
    } finally {
      other.kill('SIGKILL');
    }
  });

  it('cannot be reached from outside', async () => {
    const outside = Object.values(networkInterfaces())
      .flat()
      .find((i) => i && !i.internal && i.family === 'IPv4');
    const other = outside?.address ?? '127.0.0.2';
    const refused = await get('/debug/cpu?seconds=0.01', other).then(
      () => 'answered',
      () => 'refused',
    );
    expect(refused).to.equal('refused');
  });

  it('ends a profile that runs when it closes', async () => {
    const left = get('/debug/cpu?seconds=60').then(
      () => 'answered',
      () => 'cut',
    );
    await new Promise((resolve) => setTimeout(resolve, 50));
    await served.close();
    expect(await left).to.equal('cut');
    served = await serveProfiles(systemClock, 0);
  });
});
