import type { Progress } from '../lib/index.ts';
import type { Target } from './target.ts';

interface NodeView {
  status?: {
    nodeId?: string;
    phase?: string;
    podName?: string;
    conditions?: { type: string; status: string; reason: string; message: string }[];
    agent?: {
      phase?: string;
      models?: { model: string; state: string; progress?: number; reason?: string }[];
      runtime?: { phase?: string };
    };
  };
}

/** Waits until a ResultityNode is Ready, telling what it is doing; on a timeout it says what stands in the way. */
export const waitForNode = async (
  target: Target,
  namespace: string,
  name: string,
  timeoutMs: number,
  progress: Progress,
): Promise<NodeView> => {
  const started = performance.now();
  return progress.step(`node ${name} from apply to Ready`, async (note) => {
    for (;;) {
      const view = JSON.parse(await target.kubectl(['-n', namespace, 'get', 'rnode', name, '-o', 'json'])) as NodeView;
      const ready = view.status?.conditions?.find((c) => c.type === 'Ready');
      if (ready?.status === 'True') {
        note('');
        return view;
      }
      note(describe(view));
      if (performance.now() - started > timeoutMs)
        throw new Error(
          `${name} is not Ready after ${Math.round(timeoutMs / 1000)} s: ${ready ? `${ready.reason}: ${ready.message}` : 'it has no status; does the operator run?'}`,
        );
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  });
};

const describe = (view: NodeView): string => {
  const { phase, agent } = view.status ?? {};
  const model = agent?.models?.[0];
  return [
    phase ?? 'Pending',
    model &&
      `model ${model.state}${model.progress !== undefined && model.progress < 100 ? ` ${model.progress} %` : ''}${model.reason ? ` ${model.reason}` : ''}`,
    agent?.runtime?.phase && `engine ${agent.runtime.phase}`,
  ]
    .filter(Boolean)
    .join(', ');
};
