import type { Address, Domain, RegisterBody } from '../protocol/index.ts';
import { verifyStruct } from '../protocol/index.ts';
import { HttpFailure } from './errors.ts';
import type { AdmissionPolicy } from './settings.ts';
import type { NodeRow } from './store.ts';

/** An enrolment token that the network issued: it admits, and proves the email that it was issued for. */
export interface EnrolmentToken {
  readonly email?: string | undefined;
}

/** What the network's operator decided about who may join. */
export interface AdmissionRules {
  readonly policy: AdmissionPolicy;
  /** A new node is `pending` until the network's operator approves it. */
  readonly hold?: boolean;
  /** Looks a token up by its text. */
  token(text: string): EnrolmentToken | undefined;
  /** Nodes, wallets and emails of the allow-list, lower case. */
  readonly allowed: ReadonlySet<string>;
}

export interface RegistrationCase {
  readonly node: Address;
  readonly body: RegisterBody;
  readonly existing: NodeRow | undefined;
  readonly now: number;
  readonly domain: Domain;
}

export interface RegistrationDecision {
  readonly row: NodeRow;
  readonly isNew: boolean;
  /** The Bind that proves the owner now, whose nonce must be taken before the row is kept. */
  readonly bind?: { readonly owner: string; readonly nonce: string };
  /** True when token or Bind vouch for the owner: limits then count by owner, not by address. */
  readonly vouched: boolean;
}

const DAY = 86_400_000;

/**
 * Decides a registration (docs/protocol.md §2), a pure function of what is known. Idempotent: registering again changes
 * nothing but the metadata. @throws HttpFailure 400, 401, 403, 409
 */
export const decideRegistration = (rules: AdmissionRules, c: RegistrationCase): RegistrationDecision => {
  const { body, existing, node } = c;
  if (body.node !== node) throw new HttpFailure('bad_request', 'the body names another node than the signature');
  if (existing?.admission === 'revoked') throw new HttpFailure('revoked', 'this node was revoked');
  const owner =
    'wallet' in body.owner
      ? ({ kind: 'wallet', id: body.owner.wallet } as const)
      : ({ kind: 'email', id: body.owner.email.toLowerCase() } as const);
  const sameOwner = existing?.owner.kind === owner.kind && existing.owner.id === owner.id;
  if (existing?.proved && !sameOwner)
    throw new HttpFailure('owner_mismatch', 'the node has a proved owner; the network’s operator can clear it');

  const token = body.enrolment === undefined ? undefined : rules.token(body.enrolment);
  if (token?.email !== undefined && (owner.kind !== 'email' || token.email.toLowerCase() !== owner.id))
    throw new HttpFailure('not_admitted', 'the enrolment token was issued for another email');
  const bind = checkBind(c, owner.kind === 'wallet' ? owner.id : undefined);
  const proved = (existing?.proved && sameOwner) || token?.email !== undefined || bind !== undefined;
  if (!existing) admit(rules, node, owner.id, token);

  const row: NodeRow = {
    node,
    owner,
    proved,
    admission: existing?.admission ?? (rules.hold === true ? 'pending' : 'admitted'),
    order: existing?.order ?? 'none',
    everActive: existing?.everActive ?? false,
    incarnation: existing?.incarnation ?? 0,
    floor: existing?.floor ?? { epoch: 0, version: 0 },
    registeredAt: existing?.registeredAt ?? c.now,
    metadata: { agent: body.metadata.agent, runtime: body.metadata.runtime, labels: body.metadata.labels },
  };
  return {
    row,
    isNew: existing === undefined,
    vouched: token !== undefined || proved,
    ...(bind && !existing?.proved ? { bind } : {}),
  };
};

const admit = (rules: AdmissionRules, node: Address, owner: string, token: EnrolmentToken | undefined): void => {
  switch (rules.policy) {
    case 'open':
      return;
    case 'token':
      if (token) return;
      throw new HttpFailure('not_admitted', 'this network admits nodes by enrolment token; get one from its operator');
    case 'allow-list':
      if (rules.allowed.has(node) || rules.allowed.has(owner)) return;
      throw new HttpFailure('not_admitted', 'neither this node nor its owner is on the network’s allow-list');
  }
};

/** The Bind when it is valid now; undefined when there is none or it expired. @throws HttpFailure when it is wrong */
const checkBind = (c: RegistrationCase, wallet: string | undefined): { owner: string; nonce: string } | undefined => {
  const { bind } = c.body;
  if (!bind) return undefined;
  if (bind.owner !== wallet) throw new HttpFailure('bad_request', 'bind.owner is not owner.wallet');
  const { owner, nonce, expiresAt, sig } = bind;
  if (!verifyStruct(c.domain, 'Bind', { owner, node: c.node, nonce, expiresAt }, sig, owner))
    throw new HttpFailure('bad_signature', 'the bind is not signed by the owner’s wallet for this node');
  if (expiresAt > c.now + DAY) throw new HttpFailure('bad_request', 'bind.expiresAt is more than 24 h ahead');
  return expiresAt <= c.now ? undefined : { owner, nonce };
};
