import { expect } from 'chai';
import fc from 'fast-check';
import {
  assignModel,
  type Candidate,
  type FitVerdict,
  GpuInventory,
  gpuOffers,
  type NodeFacts,
  type PodUse,
  planFit,
  profileMiB,
  quantityMiB,
} from './index.ts';

const node = (
  name: string,
  allocatable: Record<string, string>,
  labels: Record<string, string> = {},
  more: Partial<NodeFacts> = {},
): NodeFacts => ({
  name,
  allocatable,
  labels,
  cordoned: false,
  taints: [],
  ...more,
});
const h200 = (name: string, more: Partial<NodeFacts> = {}): NodeFacts =>
  node(
    name,
    { 'nvidia.com/gpu': '8' },
    { 'nvidia.com/gpu.product': 'NVIDIA-H200', 'nvidia.com/gpu.memory': '143771' },
    more,
  );
const a100mig = (name: string): NodeFacts =>
  node(
    name,
    { 'nvidia.com/mig-3g.40gb': '2' },
    { 'nvidia.com/gpu.product': 'NVIDIA-A100', 'nvidia.com/mig-3g.40gb.memory': '40192' },
  );
const need = { model: 'qwen3-32b:v2', gpus: 1, gpuMemoryMiB: 71_680 };
const whole = { resourceName: 'nvidia.com/gpu' };

describe('placement: inventory', () => {
  it('counts what live pods took and what finished ones gave back', () => {
    const offers = gpuOffers(
      [h200('a')],
      [
        { nodeName: 'a', finished: false, requests: { 'nvidia.com/gpu': 3 } },
        { nodeName: 'a', finished: true, requests: { 'nvidia.com/gpu': 4 } },
        { finished: false, requests: { 'nvidia.com/gpu': 1 } },
      ],
    );
    expect(offers).to.have.length(1);
    expect(offers[0]).to.include({ total: 8, free: 5, product: 'NVIDIA-H200', memoryMiB: 143_771 });
  });
  it('counts the same change by change as all at once, whatever the order', () => {
    const uses = fc.record({
      key: fc.constantFrom('a/1', 'a/2', 'b/1'),
      node: fc.constantFrom('x', 'y', undefined),
      finished: fc.boolean(),
      count: fc.nat(4),
      gone: fc.boolean(),
    });
    const picky = {
      ...whole,
      nodeSelector: { 'kubernetes.io/hostname': 'x' },
      own: { node: 'y', resourceName: 'nvidia.com/gpu', count: 1 },
    };
    const machines = fc.record({ node: fc.constantFrom('x', 'y'), gpus: fc.nat(8), gone: fc.boolean() });
    fc.assert(
      fc.property(fc.array(fc.oneof(uses, machines), { maxLength: 40 }), (changes) => {
        const inventory = new GpuInventory();
        const [pods, nodes] = [new Map<string, PodUse>(), new Map<string, NodeFacts>()];
        for (const c of changes) {
          if ('key' in c) {
            const use = {
              ...(c.node === undefined ? {} : { nodeName: c.node }),
              finished: c.finished,
              requests: { 'nvidia.com/gpu': c.count },
            };
            if (c.gone) inventory.removePod(c.key);
            else inventory.setPod(c.key, use);
            if (c.gone) pods.delete(c.key);
            else pods.set(c.key, use);
          } else {
            const facts = node(c.node, { 'nvidia.com/gpu': String(c.gpus) });
            if (c.gone) inventory.removeNode(c.node);
            else inventory.setNode(facts);
            if (c.gone) nodes.delete(c.node);
            else nodes.set(c.node, facts);
          }
          // Judged in between, so that groups are carried from one list to the next.
          if (changes.length % 3 === 0) for (const limits of [whole, picky]) planFit(need, limits, inventory.offers());
        }
        for (const limits of [whole, picky])
          expect(planFit(need, limits, inventory.offers())).to.deep.equal(
            planFit(need, limits, gpuOffers(nodes.values(), pods.values())),
          );
        expect(inventory.offers()).to.deep.equal(gpuOffers(nodes.values(), pods.values()));
        expect(inventory.offers().every((o) => o.free >= 0 && o.free <= o.total)).to.equal(true);
      }),
      { numRuns: 300 },
    );
  });
  it('gives the same list until something that matters has changed', () => {
    const inventory = new GpuInventory();
    inventory.setNode(h200('a'));
    inventory.setPod('x', { nodeName: 'a', finished: false, requests: { 'nvidia.com/gpu': 1 } });
    const before = inventory.offers();
    inventory.setNode(h200('a'));
    inventory.setPod('x', { nodeName: 'a', finished: false, requests: { 'nvidia.com/gpu': 1 } });
    inventory.setPod('y', { finished: false, requests: { 'nvidia.com/gpu': 1 } });
    inventory.setPod('z', { nodeName: 'a', finished: false, requests: {} });
    expect(inventory.offers()).to.equal(before);
    inventory.setPod('x', { nodeName: 'a', finished: true, requests: { 'nvidia.com/gpu': 1 } });
    expect(inventory.offers()[0]).to.include({ free: 8 });
  });
  it('counts a resource of any name once somebody asks for it, and gives the same list until then', () => {
    const inventory = new GpuInventory();
    inventory.setNode(node('a', { 'nvidia.com/gpu': '1', 'example.com/resource': '2' }));
    inventory.setPod('x', { nodeName: 'a', finished: false, requests: { 'example.com/resource': 1 } });
    const before = inventory.offers();
    expect(before.map((o) => o.resourceName)).to.deep.equal(['nvidia.com/gpu']);
    inventory.include('nvidia.com/gpu');
    expect(inventory.offers()).to.equal(before);
    inventory.include('example.com/resource');
    expect(inventory.offers().map((o) => [o.resourceName, o.free, o.total])).to.deep.equal([
      ['nvidia.com/gpu', 1, 1],
      ['example.com/resource', 1, 2],
    ]);
    inventory.setNode(node('b', { 'example.com/resource': '4' }));
    expect(inventory.offers()[2]).to.include({ free: 4 });
  });
  it('reads memory labels in bytes and shares it among replicas', () => {
    const labels = { 'nvidia.com/gpu.memory': String(80 * 1024 ** 3), 'nvidia.com/gpu.replicas': '4' };
    expect(gpuOffers([node('a', { 'nvidia.com/gpu': '4' }, labels)], [])[0]?.memoryMiB).to.equal(20_480);
  });
  it('reads quantities and the memory in a profile’s name', () => {
    expect([quantityMiB('80Gi'), quantityMiB('512Mi'), quantityMiB('x'), profileMiB('3g.40gb')]).to.deep.equal([
      81_920,
      512,
      undefined,
      40_140,
    ]);
  });
});

describe('placement: fit', () => {
  const verdict = (offers = gpuOffers([h200('a')], []), limits: Parameters<typeof planFit>[1] = whole): FitVerdict =>
    planFit(need, limits, offers);
  it('finds a free GPU', () => {
    expect(verdict()).to.deep.include({
      kind: 'now',
      reason: 'FitFound',
      gpu: { product: 'NVIDIA-H200', memoryMiB: 143_771 },
    });
  });
  it('takes a GPU without labels for one that may fit', () => {
    const v = verdict(gpuOffers([node('a', { 'nvidia.com/gpu': '1' })], []));
    expect(v).to.include({ kind: 'now', reason: 'FitFound' });
    expect(v.message).to.contain('memory not labelled');
  });
  it('waits, and says for what, when all are in use', () => {
    const v = verdict(gpuOffers([h200('a')], [{ nodeName: 'a', finished: false, requests: { 'nvidia.com/gpu': 8 } }]));
    expect(v).to.include({ kind: 'later', reason: 'NoSpareGPU' });
    expect(v.message).to.contain('NVIDIA-H200 all 8 in use');
  });
  it('names the missing MiB of each pool', () => {
    const v = planFit(need, { resourceName: 'nvidia.com/gpu', migProfile: '3g.40gb' }, gpuOffers([a100mig('b')], []));
    expect(v).to.include({ kind: 'never', reason: 'InsufficientGPUMemory' });
    expect(v.message).to.equal(
      'no GPU fits qwen3-32b:v2 (needs 71 680 MiB): NVIDIA-A100 3g.40gb has 40 192 MiB, 31 488 short',
    );
    expect(v.pools[0]?.missingMiB).to.equal(31_488);
  });
  it('leaves a pool from zero to the autoscaler', () => {
    expect(verdict([])).to.include({ kind: 'later', reason: 'NoGPUNodes' });
  });
  it('respects selectors, taints, cordons, products and the number of GPUs', () => {
    const offers = gpuOffers([h200('a', { taints: [{ key: 'team', value: 'x', effect: 'NoSchedule' }] })], []);
    expect(verdict(offers)).to.include({ kind: 'later', reason: 'TaintNotTolerated' });
    expect(verdict(offers, { ...whole, tolerations: [{ key: 'team', operator: 'Equal', value: 'x' }] })).to.include({
      kind: 'now',
    });
    expect(verdict(undefined, { ...whole, nodeSelector: { zone: 'b' } })).to.include({ reason: 'NoNodeSelected' });
    expect(verdict(undefined, { ...whole, product: 'NVIDIA-B200' })).to.include({
      kind: 'later',
      reason: 'NoMatchingProduct',
    });
    expect(verdict(undefined, { ...whole, count: 9 })).to.include({ kind: 'never', reason: 'InsufficientGPUs' });
    expect(verdict(gpuOffers([h200('a', { cordoned: true })], []))).to.include({
      kind: 'later',
      reason: 'NodeCordoned',
    });
  });
  it('gives a bounded message for any cluster', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ name: fc.string(), gpus: fc.nat(16), memory: fc.nat(200_000) }), { maxLength: 30 }),
        (nodes) => {
          const offers = gpuOffers(
            nodes.map((n) =>
              node(
                n.name,
                { 'nvidia.com/gpu': String(n.gpus) },
                { 'nvidia.com/gpu.memory': String(n.memory), 'nvidia.com/gpu.product': n.name },
              ),
            ),
            [],
          );
          const v = planFit(need, whole, offers);
          return (
            v.message.length <= 256 &&
            (v.kind !== 'now' || offers.some((o) => o.free >= 1 && (o.memoryMiB ?? Infinity) >= need.gpuMemoryMiB))
          );
        },
      ),
      { numRuns: 100 },
    );
  });
});

describe('placement: assignment', () => {
  const fits = planFit({ ...need, gpuMemoryMiB: 1 }, whole, gpuOffers([h200('a')], []));
  const never = planFit({ ...need, gpuMemoryMiB: 1e6 }, whole, gpuOffers([h200('a')], []));
  const candidate = (model: string, more: Partial<Candidate> = {}): Candidate => ({
    model,
    state: 'active',
    weight: 1,
    servers: 0,
    fit: fits,
    ...more,
  });
  it('takes the one with the fewest servers for its weight', () => {
    const a = assignModel(
      [candidate('a:1', { servers: 4, weight: 4 }), candidate('b:1', { servers: 2 })],
      {},
      undefined,
    );
    expect(a).to.include({ kind: 'assigned', model: 'a:1' });
  });
  it('stays with what the node has', () => {
    expect(assignModel([candidate('a:1'), candidate('b:1', { servers: 9 })], {}, 'b:1')).to.include({ model: 'b:1' });
  });
  it('follows include and exclude, by name or by version', () => {
    const all = [candidate('a:1'), candidate('a:2'), candidate('b:1')];
    expect(assignModel(all, { include: ['a'], exclude: ['a:1'] }, undefined)).to.include({ model: 'a:2' });
    expect(assignModel(all, { include: ['c'] }, undefined)).to.include({ kind: 'none', reason: 'ModelNotApproved' });
  });
  it('never replaces a model that the owner named', () => {
    expect(assignModel([candidate('a:1')], { assigned: 'x:1' }, undefined)).to.include({
      kind: 'none',
      reason: 'ModelNotApproved',
    });
    expect(assignModel([candidate('a:1', { state: 'archived' })], { assigned: 'a:1' }, undefined)).to.include({
      reason: 'ModelArchived',
    });
    expect(assignModel([candidate('a:1', { fit: never })], { assigned: 'a:1' }, 'a:1')).to.include({
      reason: 'NoModelFits',
    });
  });
  it('leaves a current model that can never fit', () => {
    expect(assignModel([candidate('a:1', { fit: never }), candidate('b:1')], {}, 'a:1')).to.include({ model: 'b:1' });
  });
});
