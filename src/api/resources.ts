/** How the resources are named on the API server. */
export const apiGroup = 'resultity.com';
export const apiVersion = 'v1alpha1';
export const apiGroupVersion = 'resultity.com/v1alpha1';

/** Kind, plural and group version of each resource; all are namespaced. */
export const resources = {
  ResultityNode: { group: apiGroup, version: apiVersion, kind: 'ResultityNode', plural: 'resultitynodes' },
  ApprovedModel: { group: apiGroup, version: apiVersion, kind: 'ApprovedModel', plural: 'approvedmodels' },
  ResultityNetwork: { group: apiGroup, version: apiVersion, kind: 'ResultityNetwork', plural: 'resultitynetworks' },
  ResultityFleet: { group: apiGroup, version: apiVersion, kind: 'ResultityFleet', plural: 'resultityfleets' },
} as const;

export type ResourceKind = keyof typeof resources;
