import { monitorEventLoopDelay } from 'node:perf_hooks';
import { ServiceRig } from '../../test/support/service-rig.ts';

/** What the measuring process must know of the service. */
export interface Started {
  readonly url: string;
  readonly network: `0x${string}`;
  readonly model: { readonly ref: string; readonly digest: `sha256:${string}` };
  /** The payload of every agent's heartbeats: made once, as this is not about making them. */
  readonly heartbeat: string;
}
/** Since the last sample. */
export interface Sample {
  readonly cpuMs: number;
  /** Of it, in the kernel: mostly sockets. */
  readonly systemMs: number;
  readonly rssMiB: number;
  readonly loopP50Ms: number;
  readonly loopP99Ms: number;
  readonly sockets: number;
  readonly active: number;
}

const HUGE = 1e9;

/** The service alone in this process: its CPU time and memory are nobody else's. Answers each message with a Sample. */
export const runService = async (send: (message: object) => void): Promise<void> => {
  const sockets = { socketsPerAddress: HUGE, sockets: HUGE, connections: HUGE, connectionsPerAddress: HUGE };
  const limits = { ...sockets, anyPerAddress: HUGE, callsPerAddress: HUGE };
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
      systemMs: used.system / 1_000,
      rssMiB: process.memoryUsage.rss() / 2 ** 20,
      loopP50Ms: loop.percentile(50) / 1e6,
      loopP99Ms: loop.percentile(99) / 1e6,
      sockets: rig.service.hub.size,
      active: rig.service.registry.counts().get('active') ?? 0,
    };
    loop.reset();
    send(sample);
  });
  const { ref, digest } = rig.model;
  const heartbeat = rig.node().heartbeat(ref, digest, rig.config, { capacity: { slots: 16, queue: 16 } });
  const started: Started = {
    url: rig.url,
    network: rig.ticketSigner.address,
    model: { ref, digest },
    heartbeat: JSON.stringify(heartbeat),
  };
  send(started);
};
