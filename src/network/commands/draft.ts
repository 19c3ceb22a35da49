/**
 * The draft of a first configuration, for `publish --snapshot`. What only the operator knows is left empty, and an empty
 * field is refused by its name. `participation` follows the environment.
 */
export const firstDraft = (
  environment: 'testnet' | 'mainnet',
  endpoint: string,
): string => `# The configuration of the network: what nodes install, run and may do (docs/protocol.md §7, docs/configuration.md).
# Fill in what is empty, then: resultity-network publish --dir . --snapshot snapshot.yaml --to ${endpoint} --ca tls/ca.crt
# Name, version, digest and files of a model: resultity-network model describe FOLDER --name NAME --version VERSION
models: []
#  - name: my-model
#    version: v1
#    digest: sha256:…
#    state: active                  # active, inactive, archived
#    tasks: [chat.completions, completions]
#    files: [{ path: config.json, size: 1, sha256: … }]
#    sources: ['${endpoint}/models/my-model/']   # as serve --models DIR offers them; their host stands in trustedSources
#    engine: { name: vllm, minVersion: 0.18.0, args: { max-model-len: 2048 } }
#    requires: { gpus: 1, gpuMemoryMiB: 8192, diskMiB: 4096 }
#    test:                          # what a node must answer before it serves
#      request: { messages: [{ role: user, content: What is the capital of France? }], temperature: 0, max_tokens: 24 }
#      expect: { contains: Paris }
runtimes: []
#  - { engine: vllm, version: 0.32.0, image: 'registry/vllm@sha256:…', accelerator: nvidia }   # nvidia, amd, cpu
agent:
  version: 0.1.0
  image:                            # registry/resultity@sha256:…
  minVersion: 0.1.0
jobs: { maxOutputTokens: 1024, maxQueue: 32, timeouts: { firstTokenMs: 60000, gapMs: 30000, totalMs: 300000 } }
isolation: { minTier: sandbox }     # none, podpolicy, sandbox, sandbox+policy
participation: { testnet: ${environment === 'testnet'}, mainnet: ${environment === 'mainnet'} }
subclouds: []
ttl: { heartbeatMs: 15000, missedHeartbeats: 3, pollMs: 300000, retryMs: 5000, cacheMs: 86400000 }
maxStalenessSeconds: 604800
trustedSources: [${new URL(endpoint).host}]
`;
