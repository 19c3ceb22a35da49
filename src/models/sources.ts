import { CodedError } from '../lib/errors.ts';
import { hostListed, isSecureSource } from '../protocol/index.ts';

/** Where model files may come from. */
export interface SourcePolicy {
  /** `trustedSources` of the snapshot: `host` (any port) or `host:port`. */
  readonly trustedSources: readonly string[];
  /** Cluster-internal hosts for which the operator's configuration allows http. */
  readonly allowInsecureHosts: readonly string[];
  /** A mirror replaces the beginning of a listed source; its host then counts as trusted, and nothing else is relaxed. */
  readonly mirrors: readonly { readonly from: string; readonly to: string }[];
}

/** A mirror is written as host or as URL. */
const asPrefix = (text: string): string => (text.includes('://') ? text : `https://${text}/`);

/**
 * Judges one URL: a source, or where a redirect leads.
 * @throws CodedError `untrusted_source`, `insecure_source`
 */
export const checkSourceUrl = (url: URL, policy: SourcePolicy): void => {
  if (!isSecureSource(url, policy.allowInsecureHosts))
    throw new CodedError('insecure_source', `${url.protocol}//${url.host} is not https`);
  const mirrorHosts = policy.mirrors.map((m) => new URL(asPrefix(m.to)).host);
  if (!hostListed(url, [...policy.trustedSources, ...mirrorHosts]))
    throw new CodedError('untrusted_source', `${url.host} is not among the trusted sources`);
};

/** The listed source, or the mirror in its place. */
export const mirrored = (source: string, policy: SourcePolicy): string => {
  for (const { from, to } of policy.mirrors) {
    const prefix = asPrefix(from);
    if (source.startsWith(prefix))
      return asPrefix(to).replace(/\/*$/, '/') + source.slice(prefix.length).replace(/^\/+/, '');
  }
  return source;
};

/** URL of one file under a source; each part of the path is escaped, the path was checked before. */
export const fileUrl = (source: string, path: string, policy: SourcePolicy): URL =>
  new URL(`${mirrored(source, policy).replace(/\/*$/, '/')}${path.split('/').map(encodeURIComponent).join('/')}`);
