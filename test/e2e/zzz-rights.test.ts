import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import { SYSTEM_NAMESPACE } from '../../hack/demo/names.ts';
import { CLUSTER_RULES, LEASE_RULES, NAMESPACED_RULES, type Rule } from '../../operator/rbac.ts';
import { previousRights } from './previous-chart.ts';
import { e2e } from './setup.ts';

interface AuditEvent {
  readonly requestReceivedTimestamp: string;
  readonly verb: string;
  readonly user: { readonly username: string };
  readonly objectRef?: {
    readonly apiGroup?: string;
    readonly resource: string;
    readonly subresource?: string;
    readonly name?: string;
  };
  readonly responseStatus?: { readonly code: number; readonly message?: string };
}

const OPERATOR = `system:serviceaccount:${SYSTEM_NAMESPACE}:resultity`;
/** An eye on the SDK's own questions, which everybody may ask. */
const EVERYBODY = new Set(['selfsubjectaccessreviews', 'selfsubjectrulesreviews', 'selfsubjectreviews']);

/** The lines of the API server's audit log that hold a text. */
const audited = (text: string): readonly AuditEvent[] => {
  const { auditLog } = e2e().target.cluster ?? { auditLog: '' };
  const dir = dirname(auditLog);
  return readdirSync(dir)
    .filter((name) => name.startsWith('audit'))
    .flatMap((file) => readFileSync(join(dir, file), 'utf8').split('\n'))
    .flatMap((line) => (line.includes(text) ? [JSON.parse(line) as AuditEvent] : []));
};

/** What the operator asked of the API server in the whole run. */
const events = (): readonly AuditEvent[] =>
  audited(OPERATOR).filter(({ user, requestReceivedTimestamp }) => {
    const at = Date.parse(requestReceivedTimestamp);
    return user.username === OPERATOR && (at < previousRights.since || at > previousRights.until);
  });

/** `verb group/resource` → answers. */
const asked = (): Map<string, Set<number>> => {
  const found = new Map<string, Set<number>>();
  for (const { verb, objectRef, responseStatus } of events()) {
    if (!objectRef || EVERYBODY.has(objectRef.resource)) continue;
    const resource = objectRef.subresource ? `${objectRef.resource}/${objectRef.subresource}` : objectRef.resource;
    const key = `${verb} ${objectRef.apiGroup ?? ''}/${resource}`;
    found.set(key, (found.get(key) ?? new Set()).add(responseStatus?.code ?? 0));
  }
  return found;
};

/** What a run of this suite does not bring about. */
const NOT_HERE: readonly (readonly [RegExp, string])[] = [
  [/^update .+\/finalizers$/, 'where OwnerReferencesPermissionEnforcement is on'],
  [/persistentvolumeclaims$/, 'claim templates'],
  [/networkpolicies$/, 'isolation PodPolicy'],
  [/kueue/, 'where Kueue is installed'],
  [
    /^get resultity\.com\/(resultitynodes|approvedmodels)$/,
    'asked by the uninstall’s Job when somebody else wrote between its list and its patch',
  ],
  [/^get \/nodes$/, 'asked past the cache before a pod is called lost'],
  [/^delete resultity\.com\/approvedmodels$/, 'a model that vanished from the snapshot'],
];

const rights = (rules: readonly Rule[]): string[] =>
  rules.flatMap(({ apiGroups, resources, verbs }) =>
    apiGroups.flatMap((group) => resources.flatMap((resource) => verbs.map((verb) => `${verb} ${group}/${resource}`))),
  );

describe('the operator’s rights', () => {
  before(function () {
    if (!e2e().target.cluster) this.skip(); // another cluster's audit log is not ours to read
  });

  it('were enough for the whole run: nothing was forbidden', () => {
    const forbidden = [...asked()].filter(([, codes]) => codes.has(403)).map(([what]) => what);
    expect(asked().size, 'the log has the operator in it').to.be.greaterThan(20);
    expect(forbidden).to.deep.equal([]);
  });
  it('were never narrowed by the chart’s admission policies: whatever it wrote was let in', () => {
    const made = audited('validatingadmissionpolicies')
      .filter(({ responseStatus }) => responseStatus?.code === 201)
      .map(({ objectRef }) => objectRef?.name);
    expect(made).to.include.members(['images', 'operator-pods', 'operator-specs'].map((name) => `resultity-${name}`));
    const refused = events().filter((event) => event.responseStatus?.message?.includes('ValidatingAdmissionPolicy'));
    expect(refused.map((event) => event.responseStatus?.message)).to.deep.equal([]);
  });
  it('never let it read a Secret', () => {
    const secrets = [...asked().keys()].filter((what) => what.endsWith('/secrets'));
    expect(secrets).to.deep.equal(['create /secrets']);
    expect(rights([...NAMESPACED_RULES, ...CLUSTER_RULES]).filter((r) => r.endsWith('/secrets'))).to.deep.equal([
      'create /secrets',
    ]);
  });
  it('are all needed: each that was not used here has its reason', () => {
    const used = asked();
    const granted = rights([...NAMESPACED_RULES, ...CLUSTER_RULES, ...LEASE_RULES]);
    const unused = granted.filter((right) => !used.has(right) && !right.startsWith('bind '));
    const reasonOf = (right: string): string | undefined => {
      const [verb, what] = right.split(' ');
      if (verb === 'create' && used.has(`patch ${what}`)) return 'a server-side apply that creates is logged as patch';
      if (verb === 'list' && used.has(`watch ${what}`))
        return 'the first list is streamed by a watch; older servers need it';
      return NOT_HERE.find(([pattern]) => pattern.test(right))?.[1];
    };
    process.stdout.write(`      ${granted.length} rights, ${unused.length} not used here\n`);
    for (const right of unused) process.stdout.write(`        ${right}: ${reasonOf(right) ?? 'no reason'}\n`);
    expect(unused.filter((right) => reasonOf(right) === undefined)).to.deep.equal([]);
  });
});
