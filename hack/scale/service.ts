import { monitorEventLoopDelay } from 'node:perf_hooks';
import { ServiceRig } from '../../test/support/service-rig.ts';

/** What the measuring process must know of the service. */
export interface Started {
  readonly url: string;
  readonly network: `0x${string}`;
  readonly model: { readonly ref: string; readonly digest: `sha256:${string}` };
  readonly config: { readonly epoch: number; readonly version: number; readonly digest: `sha256:${string}` };
}
/** Since the last sample. */
export interface Sample {
  readonly cpuMs: number;
  readonly rssMiB: number;
  readonly loopP99Ms: number;
  readonly sockets: number;
  readonly active: number;
}

const HUGE = 1e9;

/** The service alone in this process: its CPU time and memory are nobody else's. Answers each message with a Sample. */
export const runService = async (send: (message: object) => void): Promise<void> => {
  const limits = { socketsPerAddress: 20_000, sockets: 20_000, anyPerAddress: HUGE, callsPerAddress: HUGE };
  const rig = await ServiceRig.start(
    {},
    { ...limits, registrationsPerAddress: HUGE, apiPerKey: HUGE, callsPerNode: HUGE },
  );
  await rig.publish();
  const loop = monitorEventLoopDelay({ resolution: 5 });
  loop.enable();
  let cpu = process.cpuUsage();
  process.on('message', (message) => {
    if (message === 'stop') {
      void rig.stop().then(() => process.exit(0));
      return;
    }
    const used = process.cpuUsage(cpu);
    cpu = process.cpuUsage();
    const sample: Sample = {
      cpuMs: (used.user + used.system) / 1_000,
      rssMiB: process.memoryUsage.rss() / 2 ** 20,
      loopP99Ms: loop.percentile(99) / 1e6,
      sockets: rig.service.hub.size,
      active: rig.service.registry.counts().get('active') ?? 0,
    };
    loop.reset();
    send(sample);
  });
  const { ref, digest } = rig.model;
  const started: Started = {
    url: rig.url,
    network: rig.ticketSigner.address,
    model: { ref, digest },
    config: rig.config,
  };
  send(started);
};
