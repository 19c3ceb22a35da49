/**
 * What a person (`runtime.extraArgs`, `runtime.env`) and a snapshot (`engine.args`) may tell the engine.
 * Never remote code, plug-ins, development mode, another address or another GPU: those are what isolation rests on.
 * The generated CRDs carry both lists; the operator, the agent and the admission policy use the same constants.
 */
export const allowedEngineArgs = [
  'max-model-len',
  'max-num-seqs',
  'max-num-batched-tokens',
  'gpu-memory-utilization',
  'tensor-parallel-size',
  'pipeline-parallel-size',
  'dtype',
  'quantization',
  'kv-cache-dtype',
  'enable-prefix-caching',
  'enforce-eager',
  'load-format',
  'swap-space',
  'runner',
  'convert',
  'shutdown-timeout',
] as const;

export type EngineArg = (typeof allowedEngineArgs)[number];

/** Tuning only: memory, threads, logging, collective communication. */
export const allowedRuntimeEnv = [
  'VLLM_CPU_KVCACHE_SPACE',
  'VLLM_CPU_OMP_THREADS_BIND',
  'VLLM_CPU_NUM_OF_RESERVED_CPU',
  'VLLM_ATTENTION_BACKEND',
  'VLLM_LOGGING_LEVEL',
  'VLLM_USE_FLASHINFER_SAMPLER',
  'VLLM_WORKER_MULTIPROC_METHOD',
  'VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS',
  'OMP_NUM_THREADS',
  'MKL_NUM_THREADS',
  'NCCL_DEBUG',
  'NCCL_P2P_DISABLE',
  'NCCL_P2P_LEVEL',
  'NCCL_SHM_DISABLE',
  'NCCL_IB_DISABLE',
  'PYTORCH_ALLOC_CONF',
  'PYTORCH_CUDA_ALLOC_CONF',
  'CUDA_DEVICE_ORDER',
  'CUDA_MODULE_LOADING',
  'TORCHINDUCTOR_COMPILE_THREADS',
  'TOKENIZERS_PARALLELISM',
  'MALLOC_ARENA_MAX',
  'TZ',
] as const;

/** Whether an environment variable of the runtime may be set from outside. */
export function isAllowedRuntimeEnv(name: string): boolean {
  return (allowedRuntimeEnv as readonly string[]).includes(name);
}
