/** Whether a URL's host stands in a list of `host` (any port) or `host:port` (docs/protocol.md §7, trustedSources). */
export const hostListed = (url: URL, hosts: readonly string[]): boolean =>
  hosts.some((h) => h.toLowerCase() === url.host || h.toLowerCase() === url.hostname);

/** https, or http to loopback and to the cluster-internal hosts that the operator's configuration names (§7). */
export const isSecureSource = (url: URL, insecureHosts: readonly string[]): boolean =>
  url.protocol === 'https:' ||
  (url.protocol === 'http:' && (isLoopback(url.hostname) || hostListed(url, insecureHosts)));

const isLoopback = (hostname: string): boolean =>
  hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname);
