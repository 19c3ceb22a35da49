import { existsSync, mkdtempSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDir } from '../lib/index.ts';

export type StandinVersion = 'v1' | 'v2';

const FLOATS: Readonly<Record<StandinVersion, number>> = { v1: 1024, v2: 2048 };

/** One tensor of zeros as safetensors: eight bytes of header length, the JSON header, the data. */
export function tinySafetensors(floats: number): Buffer {
  const text = JSON.stringify({
    'model.embed_tokens.weight': { dtype: 'F32', shape: [floats], data_offsets: [0, floats * 4] },
  });
  const header = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8, ' '));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, header, Buffer.alloc(floats * 4)]);
}

/** The files of the stand-in's model: a few kilobytes that look like a model folder. The same bytes on each machine. */
export function standinModelFiles(version: StandinVersion): Readonly<Record<string, Buffer>> {
  const json = (value: unknown) => Buffer.from(`${JSON.stringify(value, null, 2)}\n`);
  return {
    'config.json': json({
      architectures: ['LlamaForCausalLM'],
      model_type: 'llama',
      hidden_size: 64,
      intermediate_size: 128,
      max_position_embeddings: 2048,
      num_attention_heads: 4,
      num_hidden_layers: 2,
      num_key_value_heads: 2,
      torch_dtype: 'float32',
      vocab_size: 32,
    }),
    'generation_config.json': json({ bos_token_id: 1, eos_token_id: 2 }),
    'model.safetensors': tinySafetensors(FLOATS[version]),
    'tokenizer.json': json({
      version: '1.0',
      model: { type: 'WordLevel', vocab: { '<unk>': 0, '<s>': 1, '</s>': 2 }, unk_token: '<unk>' },
    }),
    'tokenizer_config.json': json({ tokenizer_class: 'PreTrainedTokenizerFast', model_max_length: 2048 }),
  };
}

/** Writes that model folder into the cache once. It is for the stand-in: a real engine cannot speak with it. */
export function ensureStandinModel(version: StandinVersion): string {
  const target = join(cacheDir('models'), `standin-${version}`);
  if (existsSync(target)) return target;
  const work = mkdtempSync(join(cacheDir('models'), '.standin-'));
  for (const [file, bytes] of Object.entries(standinModelFiles(version)))
    writeFileSync(join(work, file), bytes, { mode: 0o644 });
  try {
    renameSync(work, target);
  } catch (error) {
    if (!existsSync(target)) throw error; // another process was quicker
  }
  return target;
}
