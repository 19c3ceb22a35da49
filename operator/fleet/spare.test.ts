import { expect } from 'chai';
import { gpuOffers } from '../../src/placement/index.ts';
import { facts, gpuMachine, kitDocument, resultityNode } from '../../test/support/node-facts.ts';
import type { Pod } from '../pod-types.ts';
import { type SpareFacts, spareFor } from './spare.ts';

const GPU = 'nvidia.com/gpu';
const pod = (over: { at?: string; phase?: string; leaving?: boolean; resource?: string } = {}): Pod => ({
  metadata: { name: 'other', namespace: 'ns', ...(over.leaving ? { deletionTimestamp: 'x' } : {}) },
  spec: {
    ...(over.at === undefined ? {} : { nodeName: over.at }),
    containers: [{ name: 'c', image: 'i', resources: { requests: { [over.resource ?? GPU]: '1' } } }],
  },
  status: { phase: over.phase ?? 'Pending' },
});
const spare = (over: Partial<SpareFacts> = {}) =>
  spareFor({
    spec: resultityNode().spec,
    document: kitDocument(),
    members: [resultityNode({}, { assignedModel: 'tiny:v1' })],
    offers: gpuOffers([gpuMachine('m', 2)], []),
    pods: [],
    ...over,
  });
const why = (over: Partial<SpareFacts>): string => {
  const s = spare(over);
  return s === undefined || s.fits ? '' : s.why;
};

describe('whether a GPU is spare for one node more', () => {
  it('is so when one is free on a ready machine', () => {
    expect(spare()).to.deep.equal({ fits: true });
    const used = [{ nodeName: 'm', finished: false, requests: { [GPU]: 2 } }];
    expect(why({ offers: gpuOffers([gpuMachine('m', 2)], used) })).to.contain('all 2 in use');
    expect(why({ offers: gpuOffers([{ ...gpuMachine('m', 2), cordoned: true }], []) })).to.contain('cordoned');
  });
  it('is not so while a pod of anybody waits for one of its kind', () => {
    expect(why({ pods: [pod()] })).to.equal(`pod ns/other waits for ${GPU}`);
    const others = [
      pod({ at: 'm' }),
      pod({ phase: 'Failed' }),
      pod({ leaving: true }),
      pod({ resource: 'amd.com/gpu' }),
    ];
    expect(spare({ pods: others })).to.deep.equal({ fits: true });
  });
  it('is not known without GPUs to look at, with resource claims, or without a model', () => {
    expect(why({ offers: undefined })).to.contain('may not look');
    const { placement, ...spec } = resultityNode().spec;
    const claims = { ...placement, resourceClaims: [{ name: 'gpu', resourceClaimTemplateName: 't' }] };
    expect(why({ spec: { ...spec, placement: claims } })).to.contain('resource claims');
    expect(spare({ document: undefined })).to.equal(undefined);
    expect(why({ members: [resultityNode()] })).to.contain('no model is known');
    expect(spare({ members: [], spec: { ...facts().node.spec, models: { assigned: 'tiny:v1' } } })).to.deep.equal({
      fits: true,
    });
  });
});
