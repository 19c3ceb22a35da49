import { GROUP, VERSION } from './contract.ts';

/** `apiVersion` of all our objects. */
export const apiGroupVersion = `${GROUP}/${VERSION}`;

/** Kind, plural and group version of each resource; all are namespaced. */
export const resources = {
  ResultityNode: { group: GROUP, version: VERSION, kind: 'ResultityNode', plural: 'resultitynodes' },
  ApprovedModel: { group: GROUP, version: VERSION, kind: 'ApprovedModel', plural: 'approvedmodels' },
  ResultityNetwork: { group: GROUP, version: VERSION, kind: 'ResultityNetwork', plural: 'resultitynetworks' },
  ResultityFleet: { group: GROUP, version: VERSION, kind: 'ResultityFleet', plural: 'resultityfleets' },
} as const;

export type ResourceKind = keyof typeof resources;
