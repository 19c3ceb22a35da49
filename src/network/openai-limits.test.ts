import { expect } from 'chai';
import { API_KEY, ServiceRig } from '../../test/support/service-rig.ts';

describe('a caller’s request that cannot be served', () => {
  let rig: ServiceRig;
  afterEach(() => rig.stop());
  const ask = async (
    content: string,
    headers: Record<string, string> = {},
  ): Promise<{ status: number; code: string }> => {
    const body = { model: rig.model.ref, messages: [{ role: 'user', content }] };
    const answer = await rig.post('/v1/chat/completions', body, { authorization: `Bearer ${API_KEY}`, ...headers });
    const { error } = (await answer.json()) as { error: { code: string } };
    return { status: answer.status, code: error.code };
  };

  it('is answered 413 when its offer would not fit into a frame, and offered to nobody', async () => {
    rig = await ServiceRig.start({}, { frameBytes: 65_536 });
    await rig.publish();
    const node = await rig.activeNode();
    expect(await ask('x'.repeat(65_200))).to.deep.equal({ status: 413, code: 'too_large' });
    expect(node.frames.map((f) => f.t)).to.not.include('job.offer');
  });

  it('is answered 504 at the deadline that it names, and the node is told to stop', async () => {
    rig = await ServiceRig.start();
    await rig.publish();
    const node = await rig.activeNode();
    const asked = ask('hi', { 'resultity-deadline-ms': '700' });
    const { offer } = await node.offer();
    node.accept(offer);
    expect(await asked).to.deep.equal({ status: 504, code: 'deadline' });
    expect(JSON.parse(await node.next('job.cancel'))).to.include({ jobId: offer.jobId, reason: 'deadline' });
  });
});
