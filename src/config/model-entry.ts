import { z } from 'zod';
import { type Kind, type ModelFile, type Sha256, zUint } from '../protocol/index.ts';

const text = z.string();
/** Free-form JSON object; boxed numbers of the strict parser become plain ones. */
const zFree = z.record(text, z.unknown()).transform((v) => unbox(v) as Record<string, unknown>);

const unbox = (value: unknown): unknown => {
  if (value instanceof Number) return value.valueOf();
  if (Array.isArray(value)) return value.map(unbox);
  if (value !== null && typeof value === 'object')
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, unbox(v)]));
  return value;
};

/** A model as far as types go: wrong content is judged later, and fails that model alone (docs/protocol.md §7). */
export const zModel = z.object({
  name: text,
  version: text,
  digest: text,
  state: text,
  tasks: z.array(text),
  files: z.array(z.object({ path: text, size: zUint, sha256: text })),
  sources: z.array(text),
  engine: z.object({ name: text, minVersion: text, args: zFree }),
  requires: z.object({
    gpus: zUint,
    gpuMemoryMiB: zUint,
    computeCapability: z.union([text, z.number()]).transform(String).optional(),
    diskMiB: zUint,
  }),
  test: z.object({
    request: zFree,
    expect: z.object({ contains: text.optional(), regex: text.optional(), maxFirstTokenMs: zUint.optional() }),
  }),
  weight: zUint.optional(),
  subclouds: z.array(text).optional(),
});
export type RawModel = z.infer<typeof zModel>;

export type ModelAdminState = 'active' | 'inactive' | 'archived';

/** A model whose content holds. */
export interface ModelEntry {
  /** `name:version`. */
  readonly ref: string;
  readonly name: string;
  readonly version: string;
  readonly digest: Sha256;
  readonly state: ModelAdminState;
  readonly tasks: readonly Kind[];
  readonly files: readonly ModelFile[];
  /** Base URLs, each ending in `/`. */
  readonly sources: readonly string[];
  readonly engine: { readonly name: 'vllm'; readonly minVersion: string; readonly args: Record<string, unknown> };
  readonly requires: {
    readonly gpus: number;
    readonly gpuMemoryMiB: number;
    readonly computeCapability?: string | undefined;
    readonly diskMiB: number;
  };
  readonly test: {
    readonly request: Record<string, unknown>;
    readonly expect: {
      readonly contains?: string | undefined;
      readonly regex?: string | undefined;
      readonly maxFirstTokenMs?: number | undefined;
    };
  };
  readonly weight: number;
  /** Undefined: the model is for every subcloud. */
  readonly subclouds?: readonly string[] | undefined;
}

/** A model whose content is wrong: shown as Failed, never installed. The snapshot stands. */
export interface FailedModel {
  readonly ref: string;
  readonly name: string;
  readonly version: string;
  /** As listed; may be malformed. */
  readonly digest: string;
  readonly reason: string;
}
