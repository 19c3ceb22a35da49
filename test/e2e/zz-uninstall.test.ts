import { expect } from 'chai';
import { SYSTEM_NAMESPACE } from '../../hack/demo/names.ts';
import { applyManifests } from '../../hack/demo/run.ts';
import { waitForNode } from '../../hack/demo/wait.ts';
import { terminalProgress } from '../../hack/lib/index.ts';
import { ENGINE_MS, e2e, NS } from './setup.ts';

describe('helm uninstall', () => {
  it('leaves nodes serving, objects, keys and CRDs, and no finalizer that nobody would remove', async () => {
    const { target, k, get } = e2e();
    await applyManifests(target);
    await waitForNode(target, NS, 'demo-0', ENGINE_MS, terminalProgress());
    const pod = await get('pod', 'demo-0');
    const secrets = (await k('get', 'secret', '-o', 'name')).trim();
    expect((await get('rnode', 'demo-0')).metadata.finalizers).to.deep.equal(['resultity.com/node-cleanup']);

    await target.helm(['uninstall', 'resultity', '-n', SYSTEM_NAMESPACE, '--wait', '--timeout', '180s']);

    expect((await get('rnode', 'demo-0')).metadata.finalizers ?? []).to.deep.equal([]);
    const still = await get('pod', 'demo-0');
    expect(still.metadata.uid).to.equal(pod.metadata.uid);
    expect(still.status.phase).to.equal('Running');
    expect((await k('get', 'secret', '-o', 'name')).trim()).to.equal(secrets);
    const crds = await target.kubectl(['get', 'crd', '-o', 'name']);
    expect(crds.match(/resultity\.com/g)).to.have.length(4);
    const left = await target.kubectl(['-n', SYSTEM_NAMESPACE, 'get', 'job,role,rolebinding,deployment', '-o', 'name']);
    expect(left.trim(), 'nothing of the hook stays').to.equal('');
    // With nobody to clean up the objects go at once, and their pods with them.
    await k('delete', 'rnode', 'demo-0', '--timeout=60s');
  });
});
