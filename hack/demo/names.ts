/** Where the demo lives in its cluster. */
export const SYSTEM_NAMESPACE = 'resultity-system';
export const NODE_NAMESPACE = 'resultity-demo';
export const NETWORK_HOST = `resultity-network.${SYSTEM_NAMESPACE}.svc`;
export const NETWORK_PORT = 8443;
