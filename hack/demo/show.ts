import { join } from 'node:path';
import type { Progress } from '../lib/index.ts';
import { NETWORK_HOST, NETWORK_PORT, NODE_NAMESPACE, SYSTEM_NAMESPACE } from './names.ts';
import { pluginBin } from './shell.ts';
import type { Target } from './target.ts';

const INTERESTING =
  /^(resultity_agent_(jobs_total|heartbeat_total|ttft_seconds_(sum|count)|job_overhead_seconds_(sum|count))|resultity_model_(download_bytes_total|verify_duration_seconds_sum))/;

/** What the cluster says of the node: objects, conditions, events, metrics. */
export const showCluster = async (target: Target, progress: Progress): Promise<void> => {
  const show = async (title: string, args: string[]): Promise<void> => {
    progress.line(`\n$ ${title}`);
    progress.line((await target.kubectl(args)).trimEnd());
  };
  await show('kubectl get rnet,amodel,rnode,pod', ['-n', NODE_NAMESPACE, 'get', 'rnet,amodel,rnode,pod']);
  await show('kubectl get rnode demo-0: conditions', [
    ...['-n', NODE_NAMESPACE, 'get', 'rnode', 'demo-0', '-o'],
    'jsonpath={range .status.conditions[*]}{.type}={.status} {.reason}: {.message}{"\\n"}{end}',
  ]);
  await show('kubectl get events: the node’s story', [
    ...['-n', NODE_NAMESPACE, 'get', 'events', '--sort-by=.metadata.creationTimestamp', '--field-selector'],
    'involvedObject.kind=ResultityNode,involvedObject.name=demo-0',
    ...['-o', 'custom-columns=REASON:.reason,MESSAGE:.message'],
  ]);
  const pod = (
    await target.kubectl(['-n', NODE_NAMESPACE, 'get', 'rnode', 'demo-0', '-o', 'jsonpath={.status.podName}'])
  ).trim();
  const metrics = await target.kubectl([
    'get',
    '--raw',
    `/api/v1/namespaces/${NODE_NAMESPACE}/pods/${pod}:9440/proxy/metrics`,
  ]);
  progress.line('\nsome metrics of the agent');
  progress.line(
    metrics
      .split('\n')
      .filter((line) => INTERESTING.test(line))
      .join('\n'),
  );
};

/** What to try next; only what works from here. */
export const showNext = async (
  target: Target,
  dir: string,
  model: string,
  leave: boolean,
  progress: Progress,
): Promise<void> => {
  if (!leave) {
    progress.line('\nEverything is taken down now. Keep it with: npm run demo -- --keep');
    return;
  }
  const bin = await pluginBin(target.dir, target.cluster !== undefined);
  const kubeconfig = target.cluster ? ` KUBECONFIG=${target.cluster.kubeconfig}` : '';
  const at = `-n ${NODE_NAMESPACE}${target.kubectlFlags}`;
  const body = JSON.stringify({ model, messages: [{ role: 'user', content: 'Hello' }] });
  progress.line(`
Next, in a shell with the demo's plugin:
  export PATH=${bin}:$PATH${kubeconfig}
  kubectl resultity status ${at}
  kubectl resultity logs demo-0 --tail 5 ${at}
  kubectl resultity restart demo-0 ${at}      # comes back with the same identity
  kubectl describe rnode demo-0 ${at}         # its story
Ask it yourself:
  kubectl port-forward svc/resultity-network ${NETWORK_PORT} -n ${SYSTEM_NAMESPACE}${target.kubectlFlags} &
  curl -sS --cacert ${join(dir, 'tls/ca.crt')} --connect-to ${NETWORK_HOST}:${NETWORK_PORT}:127.0.0.1:${NETWORK_PORT} \\
    -H "authorization: Bearer $(cat ${join(dir, 'api-key')})" -H 'content-type: application/json' \\
    -d '${body}' https://${NETWORK_HOST}:${NETWORK_PORT}/v1/chat/completions
And take it down:
  npm run demo -- --down`);
};
