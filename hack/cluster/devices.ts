import { mkdirSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Daemon } from './control-plane.ts';
import type { Layout } from './layout.ts';

/** What Kubernetes' sample device plug-in offers, in its own words. */
export const SAMPLE_DEVICES = { resourceName: 'example.com/resource', ids: ['Dev-1', 'Dev-2'] } as const;
/** Where it makes a file for each device that it hands out; pods see it under the same path. Not removed by the plug-in. */
export const sampleDeviceFile = (id: string): string => `/tmp/${id}`;

/** Takes those files away. An empty folder in the place of one was made by a container's start while the file was gone. */
export const removeSampleDevices = (): void => {
  for (const path of SAMPLE_DEVICES.ids.map(sampleDeviceFile)) {
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) rmdirSync(path);
    else rmSync(path, { force: true });
  }
};

/**
 * Kubernetes' sample device plug-in: two made-up devices that the kubelet itself advertises and hands out. Started when the
 * kubelet listens; it says so again to a kubelet that was restarted.
 */
export const devicePlugin = (program: string): Daemon => ({ name: 'device-plugin', argv: [program] });

/** The name under which devices of the test driver of dynamic resource allocation are asked for, by a DeviceClass. */
export const DRA_DRIVER = 'test-driver.cdi.k8s.io';

/**
 * Kubernetes' test driver of dynamic resource allocation on one real node, with the rights of that node's kubelet. It publishes
 * ResourceSlices with as many devices; 30 s after it has ended the kubelet takes them away.
 */
export function draDriver(program: string, layout: Layout, devices: number): Daemon {
  const data = join(layout.paths.kubelet, 'plugins');
  mkdirSync(join(data, DRA_DRIVER), { recursive: true });
  return {
    name: `dra-driver${layout.suffix}`,
    argv: [
      ...[program, 'kubelet-plugin', `--node-name=${layout.nodeName}`, `--num-devices=${devices}`],
      ...[`--drivername=${DRA_DRIVER}`, `--datadir=${data}`],
      `--plugin-registration-path=${layout.paths.kubelet}/plugins_registry`,
      '--cdi-dir=/var/run/cdi', // of the node's own namespace
    ],
    env: { KUBECONFIG: `${layout.paths.pki}/kubelet${layout.suffix}.kubeconfig` }, // it would win over the flag
  };
}
