import { CONTAINER } from '../../src/api/contract.ts';
import { COMMAND, ENV_NAMES } from './pod-containers.ts';
import { GUARD, NFT } from './pod-guard.ts';
import { MOUNT_PATHS } from './pod-volumes.ts';
import { PULL_COMMAND } from './pull.ts';

const words = (...commands: readonly (readonly string[])[]): string[] => commands.map((c) => c.join(' '));

/**
 * What holds for every pod that the operator makes, for the admission policy on its own account
 * (charts/resultity-operator/templates/admission/operator-pods.yaml): a stolen token makes no other pods with it.
 * Keys are names of containers.
 */
export const POD_RULES = {
  /** Whole commands, joined by blanks; none has arguments besides. */
  commands: {
    [CONTAINER.agent]: words(COMMAND.agent, PULL_COMMAND.agent),
    [CONTAINER.runtime]: words(COMMAND.runtime, PULL_COMMAND.runtime),
  },
  env: ENV_NAMES,
  mounts: MOUNT_PATHS,
  /** The egress guard's command is this program and one argument, its rules. */
  guard: { name: GUARD, program: NFT },
} as const;
