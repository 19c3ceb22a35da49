import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import { SYSTEM_NAMESPACE } from '../../hack/demo/names.ts';
import { CLUSTER_RULES, LEASE_RULES, NAMESPACED_RULES, type Rule } from '../../operator/rbac.ts';
import { e2e } from './setup.ts';

interface AuditEvent {
  readonly verb: string;
  readonly user: { readonly username: string };
  readonly objectRef?: { readonly apiGroup?: string; readonly resource: string; readonly subresource?: string };
  readonly responseStatus?: { readonly code: number };
}

const OPERATOR = `system:serviceaccount:${SYSTEM_NAMESPACE}:resultity`;
/** An eye on the SDK's own questions, which everybody may ask. */
const EVERYBODY = new Set(['selfsubjectaccessreviews', 'selfsubjectrulesreviews', 'selfsubjectreviews']);

/** What the operator asked of the API server in the whole run, from its audit log: `verb group/resource` → answers. */
const asked = (): Map<string, Set<number>> => {
  const { auditLog } = e2e().target.cluster ?? { auditLog: '' };
  const dir = dirname(auditLog);
  const found = new Map<string, Set<number>>();
  for (const file of readdirSync(dir).filter((name) => name.startsWith('audit')))
    for (const line of readFileSync(join(dir, file), 'utf8').split('\n')) {
      if (!line.includes(OPERATOR)) continue;
      const { verb, user, objectRef, responseStatus } = JSON.parse(line) as AuditEvent;
      if (user.username !== OPERATOR || !objectRef || EVERYBODY.has(objectRef.resource)) continue;
      const resource = objectRef.subresource ? `${objectRef.resource}/${objectRef.subresource}` : objectRef.resource;
      const key = `${verb} ${objectRef.apiGroup ?? ''}/${resource}`;
      found.set(key, (found.get(key) ?? new Set()).add(responseStatus?.code ?? 0));
    }
  return found;
};

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
  it('never let it read a Secret', () => {
    const secrets = [...asked().keys()].filter((what) => what.endsWith('/secrets'));
    expect(secrets).to.deep.equal(['create /secrets']);
    expect(rights([...NAMESPACED_RULES, ...CLUSTER_RULES]).filter((r) => r.endsWith('/secrets'))).to.deep.equal([
      'create /secrets',
    ]);
  });
  it('are listed with those that nothing in this run needed', () => {
    const used = asked();
    const granted = rights([...NAMESPACED_RULES, ...CLUSTER_RULES, ...LEASE_RULES]);
    const unused = granted.filter((right) => !used.has(right) && !right.startsWith('bind '));
    process.stdout.write(`      ${granted.length} rights, never used here: ${unused.join(', ') || 'none'}\n`);
    // Watches of leases and the like would be a right too many; what a run of one cluster cannot bring about is named in rbac.ts.
    expect(unused.length).to.be.lessThan(granted.length / 3);
  });
});
