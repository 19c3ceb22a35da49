/**
 * The network service as a process of its own: what `resultity-network serve` runs, on the files of a chaos run (argument:
 * NetworkSetup as JSON), with failpoints in its store, armed by lines on its standard input. It ends when that does.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { systemClock } from '../../src/lib/clock.ts';
import { createLogger } from '../../src/lib/log.ts';
import { Metrics } from '../../src/lib/metrics.ts';
import { Secret } from '../../src/lib/secret.ts';
import { ApiKeys, DEFAULT_LIMITS, startService, systemRandom } from '../../src/network/index.ts';
import { createSigner } from '../../src/protocol/index.ts';
import { Failpoints, storeWithFailpoints } from './failpoints.ts';
import type { NetworkSetup } from './site.ts';

const setup = JSON.parse(process.argv[2] ?? '') as NetworkSetup;
const points = new Failpoints(() => {
  // the driver sees the end only when the kernel has taken the process apart, on a busy machine seconds later
  writeFileSync(setup.killedAt, String(Date.now()));
  process.kill(process.pid, 'SIGKILL');
});
points.listen(process.stdin);
process.stdin.once('close', () => process.exit(3));
const many = 1e9;
const service = await startService({
  data: setup.data,
  root: readFileSync(setup.root, 'utf8').trim(),
  signer: createSigner(new Secret(setup.key)),
  host: '127.0.0.1',
  port: setup.port,
  authorities: setup.authorities,
  models: setup.models,
  keys: new ApiKeys(JSON.stringify({ keys: [{ id: 'caller', key: setup.apiKey, admin: true, perMinute: many }] })),
  admission: { policy: 'open', token: () => undefined, allowed: new Set() },
  limits: {
    ...DEFAULT_LIMITS,
    callsPerNode: many,
    callsPerAddress: many,
    anyPerAddress: many,
    statusPerAddress: many,
    registrationsPerAddress: many,
    noNodeMs: 60_000,
  },
  clock: systemClock,
  random: systemRandom,
  metrics: new Metrics(),
  log: createLogger('resultity-network', 'info'),
  wrapStore: storeWithFailpoints(points),
});
process.once('SIGTERM', () => void service.close().then(() => process.exit(0)));
