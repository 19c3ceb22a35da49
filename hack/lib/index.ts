/**
 * Helpers that every program under hack/ shares.
 *
 * Reading order: `paths` (where caches and state live), `exec` (run a program and fail with its own words), `progress`
 * (what a person sees while waiting), `lock` (one builder at a time), `proc` (processes known by pid and start time),
 * `download` (checksummed), `packages` (Debian packages, named before they are installed).
 *
 * Invariants: nothing here writes outside the cache and state folders but `packages`, which says so first; a file that
 * carries its final name is whole (temp + rename).
 */
export { downloadVerified, internetIsOpen } from './download.ts';
export { type ExecOptions, type ExecResult, exec, execOk } from './exec.ts';
export { claim, release, withLock } from './lock.ts';
export { ensureDebianPackages, requireRoot } from './packages.ts';
export { cacheDir, defaultStateDir, repoRoot, writeFileWhole } from './paths.ts';
export { isSameProcess, killProcess, type ProcessRef, processRef } from './proc.ts';
export { formatElapsed, type Progress, quietProgress, terminalProgress } from './progress.ts';
