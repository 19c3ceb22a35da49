import { mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Desired, type LauncherFacts, zLauncherFacts } from './launcher-files.ts';
import { LAUNCHER_SOURCE } from './zz_generated.launcher.ts';

const FACTS_MAX = 256 << 10;

export interface LauncherLinkOptions {
  /** Folder that the agent writes and the runtime reads. */
  readonly controlDir: string;
  /** Folder that the runtime writes and the agent reads. */
  readonly engineDir: string;
}

/**
 * The agent's end of the two folders. Files appear by rename, so that the launcher never reads a part. They are not
 * fsynced: they die with the pod, and the agent writes them anew at each start.
 */
export class LauncherLink {
  private readonly options: LauncherLinkOptions;
  private last = '';
  private generation: number;

  /** `firstGeneration`: any start; the time of the start keeps it apart from an earlier agent's. */
  constructor(options: LauncherLinkOptions, firstGeneration: number) {
    this.options = options;
    this.generation = firstGeneration;
  }

  private async put(name: string, text: string, mode: number): Promise<void> {
    const path = join(this.options.controlDir, name);
    const file = await open(`${path}.tmp`, 'w', mode);
    try {
      await file.writeFile(text);
      await file.chmod(mode); // the process' umask must not lock the runtime out
    } finally {
      await file.close();
    }
    await rename(`${path}.tmp`, path);
  }

  /** Puts this agent's launcher in place and takes an old `drained` away. Call once at start, before `desire`. */
  async install(): Promise<void> {
    await mkdir(this.options.controlDir, { recursive: true });
    await this.put('launcher.py', LAUNCHER_SOURCE, 0o755);
    await rm(join(this.options.controlDir, 'drained'), { force: true });
  }

  /** Writes the desired state if it differs from the last one. Returns the generation that stands for it. */
  async desire(want: Omit<Desired, 'v' | 'generation'>): Promise<number> {
    const text = JSON.stringify(want);
    if (text === this.last) return this.generation;
    const generation = this.generation + 1;
    await this.put('desired.json', JSON.stringify({ v: 1, generation, ...want }), 0o644);
    this.generation = generation;
    this.last = text;
    return generation;
  }

  /** The restart number of the desired state in place, whoever wrote it; 0 if there is none. Another number restarts the engine. */
  async lastRestart(): Promise<number> {
    const text = await readFile(join(this.options.controlDir, 'desired.json'), 'utf8').catch(() => '{}');
    const { restart } = JSON.parse(text) as { restart?: unknown };
    return Number.isSafeInteger(restart) ? (restart as number) : 0;
  }

  /** The launcher's facts; null while there are none or none that can be read (the launcher has not started). */
  async facts(): Promise<LauncherFacts | null> {
    try {
      const file = await open(join(this.options.engineDir, 'launcher.json'), 'r');
      try {
        if ((await file.stat()).size > FACTS_MAX) return null;
        const parsed = zLauncherFacts.safeParse(JSON.parse(await file.readFile('utf8')));
        return parsed.success ? parsed.data : null;
      } finally {
        await file.close();
      }
    } catch {
      return null;
    }
  }

  /** Whether the runtime container was told to end: drain, not handover. */
  async terminating(): Promise<boolean> {
    return stat(join(this.options.engineDir, 'terminating')).then(
      () => true,
      () => false,
    );
  }

  /** Tells the launcher that the engine may go. */
  async drained(): Promise<void> {
    await this.put('drained', '', 0o644);
  }
}
