import { Command } from 'commander';
import { actionCommands } from './actions.ts';
import { bindCommand } from './bind.ts';
import { candidatesCommand, completionCommand, nodeNamesCommand } from './completion.ts';
import { configCommand } from './config.ts';
import { configViewCommands } from './config-diff.ts';
import { holdCommands } from './hold.ts';
import { identityCommand } from './identity.ts';
import { logsCommand } from './logs.ts';
import { modelsCommand } from './models.ts';
import type { Io } from './program.ts';
import { receiptCommand } from './receipt.ts';
import { statusCommand } from './status.ts';
import { supportBundleCommand } from './support-bundle.ts';
import { whyNotCommand } from './why-not.ts';

/**
 * cli: the one program for people, `resultity`, which is `kubectl resultity` too (docs/cli.md).
 *
 * Reading order: main (the process), program (exit codes, parsing); cluster (who is asked, and errors that say what to do),
 * kinds, table, wait, nearest; status, why-not, models, logs (look); actions, hold, identity (change); support-bundle with
 * redact; config with config-diff, receipt, roots, bind (signed things, most without a cluster); completion.
 *
 * Invariants: exit 0 is yes, 1 is no, 2 is wrong usage, 3 is waited too long; `refused <code>: <text>` is the last line on
 * stderr; answers go to stdout, progress to stderr; no key or token is ever shown; colour only on a terminal.
 */
export const buildProgram = (io: Io, version: string, name = 'resultity'): Command => {
  const program = new Command(name)
    .description('Resultity on Kubernetes: nodes at work, signed configuration, signed receipts')
    .version(version, '-V, --version', 'print the version')
    .showHelpAfterError(`(${name} --help shows what there is)`);
  const config = configCommand(io);
  for (const command of [...configViewCommands(io), ...holdCommands(io)]) config.addCommand(command);
  const commands = [
    statusCommand(io),
    whyNotCommand(io),
    ...actionCommands(io),
    logsCommand(io),
    modelsCommand(io),
    config,
    identityCommand(io).addCommand(bindCommand(io)),
    receiptCommand(io),
    supportBundleCommand(io, version),
    completionCommand(io, () => program),
  ];
  for (const command of commands) program.addCommand(command);
  program.addCommand(nodeNamesCommand(io), { hidden: true });
  program.addCommand(
    candidatesCommand(io, () => program),
    { hidden: true },
  );
  program
    .command('version')
    .description('print the version')
    .action(() => io.out(version));
  return program;
};

export type { Io } from './program.ts';
export { runCommand } from './program.ts';
