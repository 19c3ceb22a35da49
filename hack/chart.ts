/**
 * Checks the chart without a cluster: its suites in charts/resultity-operator/tests by helm-unittest, then what it renders
 * by kube-score. Exits 1 and prints what failed. `node hack/chart.ts`, and part of `npm run lint` and `npm test`.
 */
import { z } from 'zod';
import { ensurePrograms } from './cluster/index.ts';
import { exec, execOk, quietProgress } from './lib/index.ts';

const CHART = 'charts/resultity-operator';

/** What kube-score looks at: each way in which the chart is installed, with its NetworkPolicies, which are off by default. */
const INSTALLED: Readonly<Record<string, readonly string[]>> = {
  'all namespaces': [],
  'one namespace': ['watchNamespace=gpus'],
  'network service': [
    'networkService.enabled=true',
    'networkService.storage.size=5Gi',
    'networkService.ingress.enabled=true',
    'networkService.ingress.host=io.example.com',
  ],
  'network service with models from an image': ['networkService.enabled=true', 'networkService.modelsImage=r/x:v1'],
};

/** What the chart does not follow of kube-score, and why. What nothing runs into any more is an error too. */
const NOT_FOLLOWED: Readonly<Record<string, string>> = {
  'container-image-pull-policy: ImagePullPolicy is not set to Always':
    'images are named by digest: pulled once, the same for ever; image.pullPolicy changes it',
  'pod-networkpolicy: The pod does not have a matching egress NetworkPolicy':
    'the addresses of API server and networks are not the chart’s to know',
  "networkpolicy-targets-pod: The NetworkPolicys selector doesn't match any pods":
    'the pods of nodes are made by the operator, not by the chart',
  'statefulset-has-servicename: StatefulSet does not have a valid serviceName':
    'nobody asks for its one pod by name, and serviceName cannot be changed without making the StatefulSet anew',
};
/** A CPU limit would throttle the operator in a resync and the network service under load; requests keep their share. */
const FLAGS = ['--ignore-container-cpu-limit', '--kubernetes-version', 'v1.33', '--output-format', 'json'];

const zScores = z.array(
  z.object({
    type_meta: z.object({ kind: z.string() }),
    object_meta: z.object({ name: z.string() }),
    checks: z.array(
      z.object({
        check: z.object({ id: z.string() }),
        /** 1 critical, 5 warning, 7 nearly, 10 fine. */
        grade: z.int(),
        skipped: z.boolean(),
        comments: z.array(z.object({ path: z.string(), summary: z.string() })).nullable(),
      }),
    ),
  }),
);

interface Complaint {
  /** As in NOT_FOLLOWED. */
  readonly what: string;
  readonly of: string;
}

const complaints = async (kubeScore: string, helm: string, sets: readonly string[]): Promise<Complaint[]> => {
  const values = ['networkPolicies.enabled=true', ...sets].flatMap((set) => ['--set', set]);
  const input = await execOk([helm, 'template', 'resultity', CHART, '-n', 'resultity-system', ...values]);
  const { stdout } = await exec([kubeScore, 'score', ...FLAGS, '-'], { input });
  return zScores.parse(JSON.parse(stdout)).flatMap(({ type_meta, object_meta, checks }) =>
    checks
      .filter(({ grade, skipped }) => !skipped && grade <= 5)
      .flatMap(({ check, comments }) =>
        (comments ?? []).map(({ path, summary }) => ({
          what: `${check.id}: ${summary}`,
          of: `${type_meta.kind} ${object_meta.name}${path && ` (${path})`}`,
        })),
      ),
  );
};

const programs = await ensurePrograms(['helm', 'helm-unittest', 'kube-score'], quietProgress);
const failures: string[] = [];
const suites = await exec([programs['helm-unittest'], '--strict', CHART]);
if (suites.code !== 0) failures.push(`${suites.stdout}${suites.stderr}`);
const met = new Set<string>();
for (const [name, sets] of Object.entries(INSTALLED))
  for (const { what, of } of await complaints(programs['kube-score'], programs.helm, sets)) {
    met.add(what);
    if (!(what in NOT_FOLLOWED)) failures.push(`kube-score, ${name}: ${of}: ${what}`);
  }
for (const what of Object.keys(NOT_FOLLOWED))
  if (!met.has(what)) failures.push(`kube-score: nothing runs into "${what}" any more: take it off NOT_FOLLOWED`);
process.stdout.write(failures.length === 0 ? suites.stdout : `${failures.join('\n')}\n`);
process.exitCode = failures.length === 0 ? 0 : 1;
