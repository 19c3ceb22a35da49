import { VERSION } from '../src/api/contract.ts';
import { resources } from '../src/api/index.ts';
import { ApiError, type KubeClient } from '../src/kube/index.ts';
import { CodedError } from '../src/lib/index.ts';

interface Crd {
  readonly spec?: {
    readonly versions?: readonly { readonly name: string; readonly served?: boolean; readonly schema?: unknown }[];
  };
}

/** One field per kind that this version reads or writes; an older CRD lacks it and would drop it without a word. */
const NEWEST_FIELDS: Readonly<Record<string, string>> = {
  resultitynodes: 'modelSummary',
  approvedmodels: 'sizeSummary',
  resultitynetworks: 'ticketAge',
  resultityfleets: 'updatedReplicas',
};

/**
 * Refuses to go on against CRDs that are missing or older than this operator.
 * @throws CodedError `crd_outdated` with one clear line. No right to read CRDs is no reason to refuse: logged by the caller.
 */
export const checkCrds = async (client: KubeClient): Promise<'checked' | 'forbidden'> => {
  for (const { plural, group } of Object.values(resources)) {
    let crd: Crd;
    try {
      crd = (await client.raw(
        'GET',
        `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${plural}.${group}`,
      )) as Crd;
    } catch (error) {
      if (error instanceof ApiError && error.status === 403) return 'forbidden';
      if (error instanceof ApiError && error.status === 404)
        throw new CodedError(
          'crd_outdated',
          `the CRD ${plural}.${group} is missing: install the chart's CRDs (kubectl apply -f crds/), then start the operator again`,
        );
      throw error;
    }
    const version = crd.spec?.versions?.find((v) => v.name === VERSION && v.served === true);
    const field = NEWEST_FIELDS[plural] ?? 'status';
    if (version === undefined || !JSON.stringify(version.schema ?? {}).includes(`"${field}"`))
      throw new CodedError(
        'crd_outdated',
        `the CRD ${plural}.${group} is older than this operator (no ${VERSION} with ${field}): apply the chart's CRDs (kubectl apply -f crds/), then start the operator again`,
      );
  }
  return 'checked';
};
