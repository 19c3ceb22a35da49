import { expect } from 'chai';
import { checksumOf } from './binaries.ts';
import { fakeNode, gpuLabels } from './gpus.ts';
import { layoutOf, peerOf } from './layout.ts';

describe('cluster layout', () => {
  it('gives each name a /30, a link and a cgroup of its own', () => {
    const layouts = ['dev', 'test', 'demo', 'e2e'].map((name) => layoutOf(name, `/state/${name}`));
    expect(new Set(layouts.map((l) => l.nodeAddress)).size).to.equal(4);
    expect(new Set(layouts.map((l) => l.hostLink)).size).to.equal(4);
    expect(new Set(layouts.map((l) => l.cgroup)).size).to.equal(4);
  });

  it('puts host and node into the same /30, next to each other', () => {
    const { hostAddress, nodeAddress } = layoutOf('dev', '/state/dev');
    const last = (address: string) => Number(address.split('.')[3]);
    expect(last(nodeAddress)).to.equal(last(hostAddress) + 1);
    expect(last(hostAddress) % 4).to.equal(1);
    expect(nodeAddress.split('.').slice(0, 3)).to.deep.equal(hostAddress.split('.').slice(0, 3));
  });

  it('keeps interface names within the 15 characters Linux takes', () => {
    expect(layoutOf('a-name-of-20-letters', '/s').hostLink).to.have.length.at.most(15);
  });

  it('shares nothing between the two real nodes but the authority, the logs and the network to the first', () => {
    const first = layoutOf('dev', '/state/dev');
    const second = peerOf(first);
    const own = ['suffix', 'nodeName', 'podCidr', 'bridgeAddress', 'nodeAddress', 'cgroup'] as const;
    for (const key of own) expect(second[key], key).to.not.equal(first[key]);
    const paths = ['cni', 'kubelet', 'podLogs', 'containerdRun', 'containerdSocket', 'containerdRoot'] as const;
    for (const key of paths) expect(second.paths[key], key).to.not.equal(first.paths[key]);
    expect(second.cgroup.startsWith(`${first.cgroup}/`), 'removed with the first one’s').to.equal(true);
  });

  it('refuses names, hidden folders and paths that would not work', () => {
    expect(() => layoutOf('Dev', '/state')).to.throw('cluster name');
    expect(() => layoutOf('../x', '/state')).to.throw('cluster name');
    expect(() => layoutOf('dev', '/run/x')).to.throw('outside /run');
    expect(() => layoutOf('dev', 'state')).to.throw('absolute');
    expect(() => layoutOf('dev', `/${'x'.repeat(100)}`)).to.throw('too long');
  });
});

describe('checksum files', () => {
  const sum = 'a'.repeat(64);
  it('are read as a bare digest or as lines of digest and name', () => {
    expect(checksumOf(`${sum}\n`, 'kubectl')).to.equal(sum);
    expect(checksumOf(`${'b'.repeat(64)}  other\n${sum} *./release/etcd.tgz\n`, 'etcd.tgz')).to.equal(sum);
  });
  it('that do not name the file are an error', () => {
    expect(() => checksumOf(`${sum}  other`, 'etcd.tgz')).to.throw('does not name etcd.tgz');
    expect(() => checksumOf('<html>not found</html>', 'etcd.tgz')).to.throw('does not name');
  });
});

describe('simulated GPU nodes', () => {
  it('are tainted, annotated for kwok, and say how many GPUs they have', () => {
    const node = fakeNode(7, 4) as unknown as {
      metadata: { name: string; annotations: Record<string, string>; labels: Record<string, string> };
      spec: { taints: { effect: string }[] };
      status: { allocatable: Record<string, string> };
    };
    expect(node.metadata.name).to.equal('fake-gpu-0007');
    expect(node.metadata.annotations).to.include({ 'kwok.x-k8s.io/node': 'fake' });
    expect(node.metadata.labels).to.include(gpuLabels(4));
    expect(node.spec.taints[0]?.effect).to.equal('NoSchedule');
    expect(node.status.allocatable['nvidia.com/gpu']).to.equal('4');
  });
});
