import { Command } from 'commander';
import { bindCommand } from './bind.ts';
import { configCommand } from './config.ts';
import type { Io } from './program.ts';
import { receiptCommand } from './receipt.ts';

/**
 * cli: the one program for people, `resultity`, which is `kubectl resultity` too (docs/cli.md).
 *
 * Reading order: main (the process), program (exit codes, parsing), config, receipt, roots, bind.
 *
 * Invariants: exit 0 is yes, 1 is no, 2 is wrong usage; `refused <code>: <text>` is the last line on stderr; nothing but
 * the state folder that a command names is written; colour only on a terminal.
 */
export const buildProgram = (io: Io, version: string): Command => {
  const program = new Command('resultity')
    .description('Resultity on Kubernetes: signed configuration, signed receipts')
    .version(version, '-V, --version', 'print the version')
    .showHelpAfterError('(resultity --help shows what there is)');
  program.addCommand(configCommand(io)).addCommand(receiptCommand(io));
  program.addCommand(
    new Command('identity').description('the key of a node, and who owns it').addCommand(bindCommand(io)),
  );
  program
    .command('version')
    .description('print the version')
    .action(() => io.out(version));
  return program;
};

export type { Io } from './program.ts';
export { runCommand } from './program.ts';
