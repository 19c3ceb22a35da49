import { ANNOTATION, CONTAINER } from '../../src/api/contract.ts';
import type { AgentStatus, ResultityNodeSpec } from '../../src/api/index.ts';
import { assertNever } from '../../src/lib/index.ts';
import type { Pod } from '../pod-types.ts';
import { hashOf } from './pod.ts';
import type { Pull } from './pull.ts';
import { type RolledBack, type Rollout, shortImage } from './rollout-state.ts';
import { containerStatus, containerTrouble, PULL_REASONS } from './trouble.ts';
import { no, type Verdict, yes } from './verdict.ts';

export type Part = 'agent' | 'runtime';

/** All that the next step of an update rests on. */
export interface RolloutFacts {
  /** Wall clock, ms. */
  readonly now: number;
  /** The node's own pod: running, not ending. */
  readonly pod: Pod;
  readonly state: Rollout | undefined;
  /** What the pod shall have; images that were patched back are replaced by what they were patched back to. */
  readonly wanted: { readonly images: Readonly<Record<Part, string>>; readonly templateHash: string };
  readonly mode: 'InPlace' | 'Replace';
  /** What the pod's agent says; undefined while it has said nothing. */
  readonly agent: AgentStatus | undefined;
  readonly serving: boolean;
  readonly assignedModel: string | undefined;
  readonly drain: ResultityNodeSpec['drain'];
  /** A person holds the node. */
  readonly held: boolean;
  /** The machine answers; on one that does not nothing is begun and nothing judged. */
  readonly machineReady: boolean;
  /** Too many machines have vanished together: what is only cleared for an update goes back to work. */
  readonly brake: () => boolean;
  /** Asked only where something would begin: it looks at every node of the group. */
  readonly turn: () => Turn;
  /** Asked with the images that differ. */
  readonly pull: (images: readonly string[]) => Pull;
  readonly rolledBack: RolledBack;
  /** Parts whose published image is one that was patched back here. */
  readonly heldBack: readonly Part[];
  /** How long an engine may take from its container's start to its passed test, ms. */
  readonly startMs: number;
}

/** Whether this node may begin now, and whether it may pull. */
export interface Turn {
  readonly go: boolean;
  readonly pull: boolean;
  /** Why not. */
  readonly why: string;
  /** It waits for a node more than wanted, as maxSurge says. */
  readonly reason?: 'SurgePending';
}

/** One thing to do to the pod, or beside it. */
export type RolloutStep =
  | { readonly do: 'pull'; readonly images: Partial<Record<Part, string>> }
  | { readonly do: 'deletePull'; readonly uid: string }
  /** Annotations of the live pod, the state among them; null takes one away. */
  | { readonly do: 'mark'; readonly annotations: Readonly<Record<string, string | null>>; readonly tell?: Told }
  /** Image and annotations in one patch. */
  | {
      readonly do: 'patchImage';
      readonly part: Part;
      readonly from: string;
      readonly to: string;
      readonly annotations: Readonly<Record<string, string | null>>;
      readonly tell?: Told;
    }
  /** On the ResultityNode, before the image goes back: its next pods must not be made with it either. */
  | { readonly do: 'rememberRollback'; readonly value: RolledBack }
  | { readonly do: 'replacePod'; readonly why: string };

export interface Told {
  readonly reason: 'Updating' | 'Updated' | 'RolledBack';
  readonly note: string;
}

export interface RolloutDecision {
  readonly steps: readonly RolloutStep[];
  readonly verdict: Verdict | undefined;
  readonly againMs: number | undefined;
  /** What begins with these steps: such a turn is taken. */
  readonly begins: 'update' | 'pull' | undefined;
}

/** Over what a drain or a handover was given: the agent gives jobs back by itself, this is for one that does not. */
const OVER_MS = 15_000;
/** From the patched agent image to an agent that works. */
const AGENT_MS = 240_000;
/** An engine that is still down so long after its container came, and was not called failed, cannot even be started. */
const CRASHED_MS = 120_000;
const nothing = { steps: [], againMs: undefined, begins: undefined } as const;

const imageOf = (pod: Pod, part: Part): string =>
  [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])].find((c) => c.name === CONTAINER[part])
    ?.image ?? '';
const imageMark = { agent: ANNOTATION.agentImage, runtime: ANNOTATION.runtimeImage } as const;
const clearMark = { agent: ANNOTATION.handover, runtime: ANNOTATION.drain, pod: ANNOTATION.drain } as const;
const stateMark = (state: Rollout): Record<string, string> => ({ [ANNOTATION.rollout]: JSON.stringify(state) });
const text = (why: string): string => Array.from(why).slice(0, 160).join('');

/** The next step of an update, or none. Pure and total: the same facts give the same step, whoever died in between. */
export const decideRollout = (f: RolloutFacts): RolloutDecision => (f.state ? goOn(f, f.state) : begin(f));

const PARTS: readonly Part[] = ['agent', 'runtime'];

const differences = ({ pod, wanted, mode }: RolloutFacts): { differing: Part[]; replaced: boolean } => {
  const hash = hashOf(pod);
  const differing = PARTS.filter((part) => imageOf(pod, part) !== wanted.images[part]);
  const template = hash !== undefined && hash !== wanted.templateHash;
  return { differing, replaced: template || (mode === 'Replace' && differing.length > 0) };
};

const begin = (f: RolloutFacts): RolloutDecision => {
  const { pod, wanted } = f;
  const { differing, replaced } = differences(f);
  if (differing.length === 0 && !replaced) return settled(f);
  const what = replaced ? 'the pod' : `the ${differing.join(' and ')} image`;
  const held = (why: string, reason: 'UpdateHeld' | 'SurgePending' = 'UpdateHeld'): RolloutDecision => ({
    ...nothing,
    verdict: no(reason, `${what} is not the wanted one yet: ${text(why)}`),
  });
  if (f.held) return held(`the annotation ${ANNOTATION.hold} holds it; take it off to go on`);
  if (!f.machineReady) return held('its machine does not answer');
  const at = pod.spec?.nodeName;
  if (at === undefined && !replaced) return patchAll(f, differing);
  if (replaced) {
    const { go, why, reason } = f.turn();
    return go ? clear(f, 'pod', 'template', wanted.templateHash) : held(why, reason);
  }
  // What does not run at all is no reason to wait: nothing is lost by the new image.
  const broken = differing.filter((part) => containerTrouble(containerStatus(pod, CONTAINER[part])) !== undefined);
  if (broken.length > 0) return patchAll(f, broken);
  const images = Object.fromEntries(differing.map((part) => [part, wanted.images[part]])) as Partial<
    Record<Part, string>
  >;
  const pull = f.pull(Object.values(images));
  const turn = f.turn();
  switch (pull.at) {
    case 'none':
      if (!turn.pull) return held(turn.why);
      return { ...pulling(what), steps: [{ do: 'pull', images }], begins: 'pull' };
    case 'stale':
      return { ...pulling(what), steps: [{ do: 'deletePull', uid: pull.uid }] };
    case 'ending':
      return pulling(what);
    case 'waiting':
      return pulling(what, pull.message);
    case 'failing':
      return held(`${pull.message}; the node goes on with what it has. See the events of its pull pod`);
    case 'done': {
      if (!turn.go) return held(turn.why, turn.reason);
      const [part] = differing;
      return part === undefined ? settled(f) : clear(f, part, imageOf(pod, part), wanted.images[part]);
    }
    default:
      return assertNever(pull);
  }
};

/** It serves meanwhile, so nothing is under way yet. */
const pulling = (what: string, message = 'it is being pulled') => ({
  ...nothing,
  verdict: no('PullingImage', `${what} is not the wanted one yet: ${text(message)}`),
});

/** Nothing differs (any more). What was patched back stays said; the pull pod has done its work. */
const settled = (f: RolloutFacts): RolloutDecision => {
  const pull = f.pull([]);
  const steps: RolloutStep[] = 'uid' in pull ? [{ do: 'deletePull', uid: pull.uid }] : [];
  const [back] = f.heldBack;
  const { refused = '', why = '' } = (back && f.rolledBack[back]) ?? {};
  return {
    ...nothing,
    steps,
    verdict:
      back === undefined
        ? undefined
        : no(
            'RolledBack',
            `the ${back} image ${shortImage(refused)} was patched back: ${text(why)}; publish another, or take ${ANNOTATION.rolledBack} off this node to try again`,
          ),
  };
};

/** Straight away, in a pod that has no work to lose. */
const patchAll = (f: RolloutFacts, parts: readonly Part[]): RolloutDecision => ({
  ...nothing,
  steps: parts.map((part) =>
    patch(
      f,
      part,
      f.wanted.images[part],
      {},
      updating(part, f.wanted.images[part], 'patched at once, as it does not run'),
    ),
  ),
  verdict: yes('Updating', `the ${parts.join(' and ')} image is patched at once: nothing runs that could be lost`),
});

const patch = (
  f: RolloutFacts,
  part: Part,
  to: string,
  annotations: Record<string, string | null>,
  tell?: Told,
): Extract<RolloutStep, { do: 'patchImage' }> => ({
  do: 'patchImage',
  part,
  from: imageOf(f.pod, part),
  to,
  annotations: { ...annotations, [imageMark[part]]: to },
  ...(tell === undefined ? {} : { tell }),
});

const updating = (part: Rollout['what'], to: string, how: string): Told => ({
  reason: 'Updating',
  note: `${part === 'pod' ? 'the pod' : `${part} image ${shortImage(to)}`}: ${how}`,
});

const clear = (f: RolloutFacts, what: Rollout['what'], from: string, to: string): RolloutDecision => {
  const state: Rollout = { what, step: 'clear', from, to, since: f.now, healthy: f.serving };
  const how =
    what === 'agent'
      ? `its jobs finish within ${f.drain.handoverSeconds} s, the engine goes on`
      : `draining, at most ${f.drain.timeoutSeconds} s`;
  return {
    steps: [
      { do: 'mark', annotations: { ...stateMark(state), [clearMark[what]]: 'true' }, tell: updating(what, to, how) },
    ],
    verdict: underWay(f, state),
    againMs: allowed(f, state),
    begins: 'update',
  };
};

/** How long a step may take. */
const allowed = (f: RolloutFacts, { what, step }: Rollout): number => {
  if (step === 'clear') return (what === 'agent' ? f.drain.handoverSeconds : f.drain.timeoutSeconds) * 1000 + OVER_MS;
  return what === 'agent' ? AGENT_MS : f.startMs;
};

const underWay = (f: RolloutFacts, s: Rollout): Verdict => {
  const name = s.what === 'pod' ? 'the pod is replaced' : `${s.what} image ${shortImage(s.to)}`;
  const drain =
    s.what === 'agent'
      ? `handover, at most ${f.drain.handoverSeconds} s`
      : `draining, at most ${f.drain.timeoutSeconds} s`;
  const how = { clear: drain, test: 'patched in, must pass its test', back: `patching back: ${text(s.why ?? '')}` };
  return yes('Updating', `${name}: ${how[s.step]}`);
};

const goOn = (f: RolloutFacts, s: Rollout): RolloutDecision => {
  const wait = waiting(f, s);
  if (!f.machineReady) return { ...wait, againMs: undefined };
  const late = f.now >= s.since + allowed(f, s);
  switch (s.step) {
    case 'clear':
      return cleared(f, s, late) ?? wait;
    case 'test':
      return tested(f, s, late) ?? wait;
    case 'back':
      return broughtBack(f, s, late) ?? wait;
    default:
      return assertNever(s.step);
  }
};

const finish = (s: Rollout, tell?: Told): RolloutDecision => ({
  ...nothing,
  steps: [
    {
      do: 'mark',
      annotations: { [ANNOTATION.rollout]: null, [clearMark[s.what]]: null },
      ...(tell === undefined ? {} : { tell }),
    },
  ],
  verdict: yes('Updating', s.what === 'pod' ? 'the pod is replaced' : `${s.what} image ${shortImage(s.to)}: done`),
});

const cleared = (f: RolloutFacts, s: Rollout, late: boolean): RolloutDecision | undefined => {
  const { agent, pod } = f;
  const given = pod.metadata?.annotations?.[clearMark[s.what]] === 'true';
  const stillWanted = s.what === 'pod' ? differences(f).replaced : f.wanted.images[s.what] === s.to;
  if (f.held || !stillWanted || f.brake()) return finish(s);
  const phase = s.what === 'agent' ? 'Handover' : 'Drained';
  const silent = containerTrouble(containerStatus(pod, CONTAINER.agent)) !== undefined || agent?.phase === undefined;
  if (!((given && agent?.phase === phase) || silent || late)) return undefined;
  if (s.what === 'pod')
    return {
      ...nothing,
      verdict: underWay(f, s),
      steps: [{ do: 'replacePod', why: 'replaced by one of the newer template' }],
    };
  const container = containerStatus(pod, CONTAINER[s.what])?.containerID;
  const next: Rollout = { ...s, step: 'test', since: f.now, ...(container === undefined ? {} : { container }) };
  const { annotations, ...step } = patch(f, s.what, s.to, stateMark(next));
  // A configuration that needs a runtime image needs its engine: the agent learns of the image when that one is there.
  const marks = s.what === 'runtime' ? stateMark(next) : annotations;
  return { ...waiting(f, next), steps: [{ ...step, annotations: marks }] };
};

/** The container that runs now is not the one that ran when the image was patched. */
const isNew = (f: RolloutFacts, s: Rollout, part: Part): boolean => {
  const status = containerStatus(f.pod, CONTAINER[part]);
  return status?.state?.running !== undefined && status.containerID !== undefined && status.containerID !== s.container;
};

const tested = (f: RolloutFacts, s: Rollout, late: boolean): RolloutDecision | undefined => {
  if (s.what === 'pod') return finish(s);
  const part = s.what;
  if (f.wanted.images[part] === s.from) return bringBack(f, s, part, s.why ?? 'it is no longer wanted');
  const status = containerStatus(f.pod, CONTAINER[part]);
  const fresh = isNew(f, s, part);
  const model = f.agent?.models?.find((m) => m.model === f.assignedModel);
  const pullStuck = PULL_REASONS.has(status?.state?.waiting?.reason ?? '');
  const stuck = pullStuck || status?.containerID !== s.container ? containerTrouble(status)?.message : undefined;
  const down = fresh && f.agent?.runtime?.phase === 'crashed' && f.now >= s.since + CRASHED_MS;
  const failed =
    part === 'runtime' && fresh && model?.state === 'failed'
      ? `${f.assignedModel} failed: ${model.reason ?? 'unknown'}`
      : part === 'runtime' && down
        ? 'its engine cannot be started'
        : undefined;
  const why = stuck ?? failed ?? (late ? `not ready within ${Math.round(allowed(f, s) / 1000)} s` : undefined);
  if (why !== undefined && !s.healthy) return late ? finish(s) : undefined;
  if (why !== undefined) return bringBack(f, s, part, why);
  if (!fresh) return undefined;
  const marks = f.pod.metadata?.annotations ?? {};
  if (part === 'runtime') {
    if (marks[imageMark.runtime] !== s.to)
      return { ...waiting(f, s), steps: [{ do: 'mark', annotations: { [imageMark.runtime]: s.to } }] };
    return status?.ready === true || !s.healthy ? finish(s, updated(s)) : undefined;
  }
  if (marks[ANNOTATION.handover] !== undefined)
    return { ...waiting(f, s), steps: [{ do: 'mark', annotations: { [ANNOTATION.handover]: null } }] };
  const works = f.agent?.image === s.to && (f.agent.phase === 'Active' || f.agent.phase === 'Paused');
  return works || !s.healthy ? finish(s, updated(s)) : undefined;
};

/** Looked at again when the step's time is over, and before that when a new engine should at least have been started. */
const waiting = (f: RolloutFacts, s: Rollout): RolloutDecision => {
  const left = [allowed(f, s), ...(s.step === 'test' ? [CRASHED_MS] : [])]
    .map((ms) => s.since + ms - f.now)
    .filter((ms) => ms > 0);
  return { ...nothing, verdict: underWay(f, s), againMs: left.length === 0 ? undefined : Math.min(...left) };
};

const updated = (s: Rollout): Told => ({
  reason: 'Updated',
  note: `${s.what} image ${shortImage(s.to)} runs and has passed`,
});

/** Remembered first: should the operator die before the patch, the node's next pod is not made with the bad image either. */
const bringBack = (f: RolloutFacts, s: Rollout, part: Part, why: string): RolloutDecision => {
  const container = containerStatus(f.pod, CONTAINER[part])?.containerID;
  const short = text(why);
  const next: Rollout = {
    ...s,
    step: 'back',
    since: f.now,
    why: short,
    ...(container === undefined ? {} : { container }),
  };
  const note = { refused: s.to, using: s.from, why: short };
  const known = f.rolledBack[part]?.refused === s.to || f.wanted.images[part] === s.from;
  return {
    ...nothing,
    verdict: underWay(f, next),
    againMs: allowed(f, next),
    steps: [
      ...(known ? [] : [{ do: 'rememberRollback', value: { ...f.rolledBack, [part]: note } } as const]),
      patch(f, part, s.from, stateMark(next), {
        reason: 'RolledBack',
        note: `${part} image ${shortImage(s.to)} is patched back to ${shortImage(s.from)}: ${short}`,
      }),
    ],
  };
};

const broughtBack = (f: RolloutFacts, s: Rollout, late: boolean): RolloutDecision | undefined => {
  if (s.what === 'pod') return finish(s);
  const status = containerStatus(f.pod, CONTAINER[s.what]);
  const up = isNew(f, s, s.what) && (s.what === 'agent' ? status?.started !== false : status?.ready === true);
  return up || late ? finish(s) : undefined;
};
