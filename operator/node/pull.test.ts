import { expect } from 'chai';
import { facts, resultityNode } from '../../test/support/node-facts.ts';
import type { Pod } from '../pod-types.ts';
import { prepare } from './prepare.ts';
import { pullOf, pullPod } from './pull.ts';

const NEW = `registry.example/vllm@sha256:${'b'.repeat(64)}`;
const made = (): Pod => {
  const { input } = prepare(facts());
  return { ...pullPod(input!, { runtime: NEW }, 'machine'), status: { phase: 'Pending' } };
};
const judged = (pod: Pod | undefined, images = [NEW], machine = 'machine') =>
  pullOf(pod, resultityNode(), images, machine);
const waiting = (reason: string): Pod => ({
  ...made(),
  status: { phase: 'Pending', containerStatuses: [{ name: 'runtime', state: { waiting: { reason } } }] },
});

describe('the pod that pulls', () => {
  it('asks for no GPU, passes the restricted profile, and goes to that machine by the scheduler', () => {
    const { spec } = made();
    const [container] = spec?.containers ?? [];
    expect(Object.keys(container?.resources?.requests ?? {})).to.deep.equal(['cpu', 'memory']);
    expect(container?.securityContext).to.deep.include({
      runAsNonRoot: true,
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
    });
    expect(spec).to.not.have.property('nodeName');
    expect(JSON.stringify(spec?.affinity)).to.contain('"metadata.name","operator":"In","values":["machine"]');
    expect(spec).to.include({ automountServiceAccountToken: false, restartPolicy: 'Never' });
  });
  it('is done when it has completed, and stale for other images or another machine', () => {
    const done = { ...made(), status: { phase: 'Succeeded' } };
    expect(judged(done).at).to.equal('done');
    expect(judged(done, ['other']).at).to.equal('stale');
    expect(judged(done, [NEW], 'elsewhere').at).to.equal('stale');
    expect(judged(undefined).at).to.equal('none');
    expect(judged({ ...done, metadata: { ...done.metadata, ownerReferences: [] } }).at).to.equal('none');
  });
  it('says what keeps it from being done', () => {
    expect(judged(waiting('ContainerCreating')).at).to.equal('waiting');
    expect(judged(waiting('ImagePullBackOff'))).to.include({ at: 'failing' });
    const failed = {
      phase: 'Failed',
      containerStatuses: [{ name: 'runtime', state: { terminated: { exitCode: 127 } } }],
    };
    expect(judged({ ...made(), status: failed })).to.deep.include({
      at: 'failing',
      message: 'the runtime image was pulled and its program does not start',
    });
  });
});
