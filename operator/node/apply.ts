import { ANNOTATION, CONTAINER, FIELD_MANAGER, FINALIZER } from '../../src/api/contract.ts';
import type { Reason, ResultityNode } from '../../src/api/index.ts';
import {
  ApiError,
  type EventRecorder,
  isAlreadyExists,
  isConflict,
  isNotFound,
  type JsonPatchOp,
  type KubeClient,
  type KubeMetrics,
  type ReconcileContext,
  type Store,
} from '../../src/kube/index.ts';
import { assertNever, type Clock, type Secret } from '../../src/lib/index.ts';
import { createSigner, generatePrivateKey } from '../../src/protocol/index.ts';
import { KIND } from '../kinds.ts';
import { podName, pullName } from '../names.ts';
import type { Pod } from '../pod-types.ts';
import { writeStatus } from '../status-writer.ts';
import { type Decision, incarnation, type StatusIntent, type Step } from './decide.ts';
import { eventsOf } from './events.ts';
import type { NodeFacts, Refusal } from './facts.ts';
import { applyAgentAccount, createClaims, keySecret } from './ground.ts';
import { podPolicy } from './pod-guard.ts';
import type { PodInput } from './pod-input.ts';
import { ownStatus } from './status.ts';
import { containerStatus } from './trouble.ts';

export interface NodeApplyOptions {
  readonly client: KubeClient;
  readonly kubeMetrics: KubeMetrics;
  readonly clock: Clock;
  readonly recorder: EventRecorder;
  readonly nodes: Store<ResultityNode>;
  readonly pods: Store<Pod>;
  readonly agentClusterRole: string;
  /** By key of the node: what the API server said to the last pod. Kept here, read by gather. */
  readonly refusals: Map<string, Refusal>;
  readonly newKey?: () => Secret;
}

/** How a turn ended. */
export interface Ran {
  /** Something was done that the rest depends on: the turn should be repeated. */
  readonly again: boolean;
  /** The node as its new identity was written into it, whose Secret was made: the next turn may begin with it at once. */
  readonly identity?: ResultityNode;
}

/** The account is applied again after this, or when a pod is refused. */
const ACCOUNT_MS = 600_000;

/** Does what was decided, step by step. The first failure ends the turn; everything done so far may be done again. */
export class NodeApply {
  readonly #o: NodeApplyOptions;
  /** Namespaces whose agent account stands, and until when that is taken for true. */
  readonly #accounts = new Map<string, number>();

  /** Restarts of each node's runtime, of which pod. */
  readonly #restarts = new Map<string, { uid: string; count: number }>();

  constructor(options: NodeApplyOptions) {
    this.#o = options;
  }

  async run(facts: NodeFacts, decision: Decision, context: ReconcileContext): Promise<Ran> {
    this.#watchRestarts(facts, context.key);
    let node = facts.node;
    let intent = decision.status;
    for (const step of decision.steps) {
      switch (step.do) {
        case 'addFinalizer':
          // A new identity brings it along in its own write.
          if (decision.steps.some((s) => s.do === 'makeIdentity')) break;
          node = await this.#finalizers(node, [...(node.metadata.finalizers ?? []), FINALIZER.node], context);
          break;
        case 'removeFinalizer':
          await this.#finalizers(
            node,
            (node.metadata.finalizers ?? []).filter((f) => f !== FINALIZER.node),
            context,
          );
          return { again: false };
        case 'makeIdentity':
          return { again: true, identity: await this.#makeIdentity(node, context) };
        case 'makeGround':
          await this.#makeGround(node, step.input, context);
          break;
        case 'createPod': {
          const pod = await this.#createPod(node, step.pod, context);
          if (typeof pod === 'string') return { again: pod === 'refused' };
          intent = {
            ...intent,
            pod: { name: pod.metadata?.name ?? '', uid: pod.metadata?.uid ?? '', incarnation: incarnation(node, pod) },
          };
          break;
        }
        case 'writeStatus':
          await this.#writeStatus(node, intent, context);
          break;
        case 'markPod':
          await this.#markPod(node, step, context);
          break;
        case 'patchImage':
          await this.#patchImage(node, step, context);
          break;
        case 'createPull':
          await this.#createPull(step.pod, context);
          break;
        case 'deletePull':
          await this.#deletePull(node, step.uid, context);
          break;
        case 'rememberRollback':
          node = await this.#annotate(node, { [ANNOTATION.rolledBack]: JSON.stringify(step.value) }, context);
          break;
        case 'forgetAgent':
          node = await this.#forgetAgent(node, context);
          break;
        case 'deletePod':
          await this.#deletePod(node, step, context);
          break;
        default:
          assertNever(step);
      }
    }
    return { again: false };
  }

  async #finalizers(node: ResultityNode, finalizers: string[], context: ReconcileContext): Promise<ResultityNode> {
    try {
      return await this.#patchMeta(node, { finalizers }, context);
    } catch (error) {
      if (isNotFound(error) && finalizers.length === 0) return node;
      throw error;
    }
  }

  /** With the version that was read: a stale object gives 409 and the next turn sees the newer one. */
  async #patchMeta(
    node: ResultityNode,
    change: { readonly finalizers: string[]; readonly annotations?: Record<string, string> },
    { wrote, signal }: ReconcileContext,
  ): Promise<ResultityNode> {
    const { name = '', namespace, uid, resourceVersion } = node.metadata;
    const written = await this.#o.client.patchMerge(
      KIND.node,
      { name, namespace },
      { metadata: { uid, resourceVersion, ...change } },
      { signal },
    );
    wrote(this.#o.nodes, written);
    return this.#o.nodes.project(written);
  }

  /**
   * The address first, with our finalizer, then the Secret: a crash in between leaves an address whose key was never used,
   * and a new one is made. The status tells it together with the pod.
   */
  async #makeIdentity(node: ResultityNode, context: ReconcileContext): Promise<ResultityNode> {
    const key = (this.#o.newKey ?? generatePrivateKey)();
    const nodeId = createSigner(key).address;
    const named = await this.#patchMeta(
      node,
      {
        finalizers: [...new Set([...(node.metadata.finalizers ?? []), FINALIZER.node])],
        annotations: { [ANNOTATION.nodeId]: nodeId },
      },
      context,
    );
    await this.#o.client.create(KIND.secret, keySecret(node, nodeId, key), { signal: context.signal });
    this.#o.recorder.record(KIND.node, node, {
      type: 'Normal',
      reason: 'IdentityCreated',
      note: `made the key of ${nodeId}${node.spec.identity.retain ? '; its Secret stays when this object is deleted' : ''}`,
    });
    context.log.info({ nodeId }, 'identity created');
    return named;
  }

  async #makeGround(node: ResultityNode, input: PodInput, { signal }: ReconcileContext): Promise<void> {
    const namespace = node.metadata.namespace ?? '';
    const now = this.#o.clock.monotonic();
    if ((this.#accounts.get(namespace) ?? Number.NEGATIVE_INFINITY) <= now) {
      await applyAgentAccount(this.#o.client, namespace, this.#o.agentClusterRole, signal);
      this.#accounts.set(namespace, now + ACCOUNT_MS);
    }
    await createClaims(this.#o.client, node, signal);
    const policy = podPolicy(input);
    if (policy)
      await this.#o.client.apply(KIND.networkPolicy, policy, { fieldManager: FIELD_MANAGER.operator, signal });
  }

  /** exists: the cache will show it. refused: remembered, for the next turn to say it and to wait. */
  async #createPod(
    node: ResultityNode,
    pod: Pod,
    { key, wrote, signal, log }: ReconcileContext,
  ): Promise<Pod | 'exists' | 'refused'> {
    try {
      const made = await this.#o.client.create(KIND.pod, pod, { signal });
      wrote(this.#o.pods, made);
      this.#o.refusals.delete(key);
      this.#o.recorder.record(KIND.node, node, {
        type: 'Normal',
        reason: 'CreatedPod',
        note: 'made the pod: agent and runtime',
      });
      log.info({ pod: made.metadata?.name, uid: made.metadata?.uid }, 'pod created');
      return made;
    } catch (error) {
      if (isAlreadyExists(error)) return 'exists';
      this.#accounts.delete(node.metadata.namespace ?? '');
      if (!(error instanceof ApiError) || error.status >= 500 || error.status === 429) throw error;
      const said = error.message.replace(/^[^:]*: \d+ /, '').slice(0, 200);
      this.#o.refusals.set(key, { message: said, at: this.#o.clock.now() });
      this.#tell(node, 'FailedToCreatePod', said, 'Warning');
      log.warn({ error: said }, 'the pod was refused');
      return 'refused';
    }
  }

  async #writeStatus(node: ResultityNode, intent: StatusIntent, { wrote, signal }: ReconcileContext): Promise<void> {
    const status = ownStatus(node, intent, this.#o.clock.now());
    const { agent: _, ...live } = node.status ?? {};
    const written = await writeStatus(this.#o, this.#o.nodes, node, live, status, signal);
    if (written === undefined) return;
    wrote(this.#o.nodes, written);
    for (const event of eventsOf(node, status)) this.#o.recorder.record(KIND.node, node, event);
  }

  async #markPod(
    node: ResultityNode,
    step: Extract<Step, { do: 'markPod' }>,
    { wrote, signal }: ReconcileContext,
  ): Promise<void> {
    const pod = this.#ref(node);
    try {
      const written = await this.#o.client.patchMerge(
        KIND.pod,
        pod,
        { metadata: { uid: step.uid, annotations: step.annotations, labels: step.labels } },
        { signal },
      );
      wrote(this.#o.pods, written);
    } catch (error) {
      if (isNotFound(error) || isConflict(error)) return; // it is gone, or another one: the next turn sees it
      throw error;
    }
    if (step.tell) this.#tell(node, step.tell.reason, step.tell.note);
    if (step.annotations[ANNOTATION.drain] === 'true')
      this.#tell(node, 'DrainStarted', `running jobs may finish, at most ${node.spec.drain.timeoutSeconds} s`);
  }

  async #deletePod(
    node: ResultityNode,
    step: Extract<Step, { do: 'deletePod' }>,
    context: ReconcileContext,
  ): Promise<void> {
    const { signal, log } = context;
    const pod = this.#ref(node);
    log.info({ pod: pod.name, why: step.why, force: step.force }, 'deleting the pod');
    try {
      await this.#o.client.delete(KIND.pod, pod, {
        uid: step.uid,
        signal,
        ...(step.force ? { gracePeriodSeconds: 0 } : {}),
        ...(step.graceSeconds === undefined ? {} : { gracePeriodSeconds: step.graceSeconds }),
      });
    } catch (error) {
      if (isNotFound(error) || isConflict(error)) return;
      throw error;
    }
    // It was meant for that one pod, not for every one to come.
    if (node.metadata.annotations?.[ANNOTATION.forceReplace] !== undefined)
      await this.#annotate(node, { [ANNOTATION.forceReplace]: null }, context);
    if (step.why === 'drained') this.#tell(node, 'DrainCompleted', 'every running job has finished');
    else if (step.why === 'drain timed out')
      this.#tell(node, 'DrainTimedOut', `jobs were still running after ${node.spec.drain.timeoutSeconds} s`, 'Warning');
    this.#tell(node, 'DeletedPod', `deleted the pod: ${step.why}`);
  }

  #tell(node: ResultityNode, reason: Reason, note: string, type: 'Normal' | 'Warning' = 'Normal'): void {
    this.#o.recorder.record(KIND.node, node, { type, reason, note });
  }

  /** One patch: the image, and the annotations that say how far the update is. */
  async #patchImage(
    node: ResultityNode,
    step: Extract<Step, { do: 'patchImage' }>,
    { wrote, signal, log }: ReconcileContext,
  ): Promise<void> {
    const at = `/spec/${step.part === 'agent' ? 'initContainers' : 'containers'}/${step.index}`;
    const pointer = (key: string): string => `/metadata/annotations/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`;
    const patch: JsonPatchOp[] = [
      { op: 'test', path: '/metadata/uid', value: step.uid },
      { op: 'test', path: `${at}/name`, value: CONTAINER[step.part] },
      { op: 'test', path: `${at}/image`, value: step.from },
      { op: 'replace', path: `${at}/image`, value: step.to },
      // `add` replaces what is there, and null is put as the empty text: a JSON patch cannot take away what may be missing
      ...Object.entries(step.annotations).map(([key, value]) => ({
        op: 'add' as const,
        path: pointer(key),
        value: value ?? '',
      })),
    ];
    try {
      wrote(this.#o.pods, await this.#o.client.patchJson(KIND.pod, this.#ref(node), patch, { signal }));
    } catch (error) {
      if (isNotFound(error) || isConflict(error)) return;
      throw error;
    }
    log.info({ part: step.part, from: step.from, to: step.to }, 'image patched in place');
    if (step.tell)
      this.#tell(node, step.tell.reason, step.tell.note, step.tell.reason === 'RolledBack' ? 'Warning' : 'Normal');
  }

  async #createPull(pod: Pod, { wrote, signal }: ReconcileContext): Promise<void> {
    try {
      wrote(this.#o.pods, await this.#o.client.create(KIND.pod, pod, { signal }));
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
    }
  }

  async #deletePull(node: ResultityNode, uid: string, { signal }: ReconcileContext): Promise<void> {
    const { name = '', namespace } = node.metadata;
    try {
      await this.#o.client.delete(KIND.pod, { name: pullName(name), namespace }, { uid, signal });
    } catch (error) {
      if (!isNotFound(error) && !isConflict(error)) throw error;
    }
  }

  /** It is the agent's field, so a merge patch takes it away whoever owns it; the next agent writes its own. */
  async #forgetAgent(node: ResultityNode, { wrote, signal }: ReconcileContext): Promise<ResultityNode> {
    const { name = '', namespace, uid } = node.metadata;
    const written = await this.#o.client.patchMerge(
      KIND.node,
      { name, namespace },
      { metadata: { uid }, status: { agent: null } },
      { subresource: 'status', signal },
    );
    wrote(this.#o.nodes, written);
    return written;
  }

  async #annotate(
    node: ResultityNode,
    annotations: Record<string, string | null>,
    { wrote, signal }: ReconcileContext,
  ): Promise<ResultityNode> {
    const { name = '', namespace, uid } = node.metadata;
    const written = await this.#o.client.patchMerge(
      KIND.node,
      { name, namespace },
      { metadata: { uid, annotations } },
      { signal },
    );
    wrote(this.#o.nodes, written);
    return written;
  }

  /** The kubelet started the runtime again: told once for each time. */
  #watchRestarts(facts: NodeFacts, key: string): void {
    const runtime = containerStatus(facts.pod, CONTAINER.runtime);
    const uid = facts.pod?.metadata?.uid ?? '';
    const before = this.#restarts.get(key);
    const count = runtime?.restartCount ?? 0;
    if (before?.uid === uid && count > before.count)
      this.#tell(
        facts.node,
        'RuntimeRestarted',
        `the runtime container was started again (${count} times now)`,
        'Warning',
      );
    if (facts.pod === undefined) this.#restarts.delete(key);
    else this.#restarts.set(key, { uid, count });
  }

  #ref(node: ResultityNode): { name: string; namespace: string | undefined } {
    return { name: podName(node.metadata.name ?? ''), namespace: node.metadata.namespace };
  }
}
