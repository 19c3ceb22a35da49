import { readFile, statfs } from 'node:fs/promises';
import { freemem, totalmem } from 'node:os';
import type { Heartbeat } from '../protocol/index.ts';
import { gpuFacts, type LauncherFacts } from '../runtime/index.ts';
import type { Settings } from './settings.ts';

export type Hardware = Heartbeat['hardware'];

const MIB = 2 ** 20;
const numberIn = (path: string): Promise<number | undefined> =>
  readFile(path, 'utf8').then(
    (text) => (Number.isFinite(Number(text)) ? Number(text) : undefined),
    () => undefined,
  );

/** Memory of this cgroup where it is limited, else of the machine; disk of the models folder; GPUs as the launcher saw them. */
export const readHardware = async (
  models: string,
  facts: LauncherFacts | null,
  { gpu }: Pick<Settings, 'gpu'>,
): Promise<Hardware> => {
  const limit = await numberIn('/sys/fs/cgroup/memory.max');
  const used = await numberIn('/sys/fs/cgroup/memory.current');
  const disk = await statfs(models).catch(() => null);
  const seen = facts ? gpuFacts(facts) : [];
  return {
    // a runtime without nvidia-smi tells nothing: then the device that the pod asked for stands here, without memory
    gpus:
      seen.length > 0
        ? seen.map((g) => ({
            name: g.name,
            memoryMiB: Math.round(g.memoryTotalMiB ?? 0),
            ...(g.memoryUsedMiB === null ? {} : { memoryUsedMiB: Math.round(g.memoryUsedMiB) }),
            ...(g.utilisation === null ? {} : { utilization: g.utilisation }),
            ...(g.temperatureC === null ? {} : { temperatureC: g.temperatureC }),
          }))
        : Array.from({ length: Math.min(gpu.count, 64) }, () => ({
            name: gpu.product ?? gpu.resourceName,
            memoryMiB: 0,
          })),
    memoryMiB: Math.round((limit ?? totalmem()) / MIB),
    memoryUsedMiB: Math.round((used ?? totalmem() - freemem()) / MIB),
    disk: {
      totalMiB: disk ? Math.round((disk.blocks * disk.bsize) / MIB) : 0,
      freeMiB: disk ? Math.round((disk.bavail * disk.bsize) / MIB) : 0,
    },
  };
};
