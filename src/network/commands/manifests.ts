import { stringify } from 'yaml';
import { KEY } from '../../api/index.ts';

/** Name of the ConfigMap that ResultityNetwork.spec.trust and tls.caBundle refer to. */
export const rootConfigMapName = (network: string): string => `${network.replaceAll('.', '-')}-root`;
/** Name of the Secret that the chart's networkService mounts. */
export const NETWORK_SECRET = 'resultity-network';

/** The pinned root and the CA: public, to be applied in every namespace that holds nodes of the network. */
export const rootConfigMap = (network: string, root: string, ca: string): string =>
  `# Public. Apply it in the namespace of your ResultityNetwork:
#   spec.trust.rootConfigMap.name and spec.tls.caBundle.configMap.name are "${rootConfigMapName(network)}"
${stringify({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name: rootConfigMapName(network), labels: { 'app.kubernetes.io/part-of': 'resultity' } },
  data: { [KEY.root]: root, [KEY.ca]: ca },
})}`;

export interface NetworkSecretParts {
  readonly root: string;
  readonly ticketKey: string;
  readonly cert: string;
  readonly key: string;
  readonly apiKeys: string;
}

/** What `serve` needs. The offline keys (root, config) and the CA's key are not in it. */
export const networkSecret = (parts: NetworkSecretParts): string =>
  `# Secret: ticket key, TLS key and hashed API keys of the network service. Apply it in the chart's namespace.
${stringify({
  apiVersion: 'v1',
  kind: 'Secret',
  type: 'Opaque',
  metadata: { name: NETWORK_SECRET, labels: { 'app.kubernetes.io/part-of': 'resultity' } },
  stringData: {
    'root.json': parts.root,
    'ticket-key': parts.ticketKey,
    'tls.crt': parts.cert,
    'tls.key': parts.key,
    'api-keys': parts.apiKeys,
  },
})}`;
