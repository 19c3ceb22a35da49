/** `npm run lint`: every check of hack/checks.ts; exits 1 when one fails. `-- --fix` formats and applies safe fixes first. */
import { CHECKS, runCheck } from './checks.ts';
import { exec, terminalProgress } from './lib/index.ts';

const progress = terminalProgress();
if (process.argv.includes('--fix')) await exec(['biome', 'check', '--write', '.']);
let failed = 0;
for (const check of CHECKS) {
  const output = await runCheck(check);
  progress.line(output === undefined ? `✓ ${check.name}` : `✗ ${check.name}\n${output}`);
  if (output !== undefined) failed++;
}
process.exitCode = failed === 0 ? 0 : 1;
