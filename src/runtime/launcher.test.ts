import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { generateLauncher } from '../../hack/codegen-launcher.ts';
import { allowedRuntimeEnv } from '../api/allow-list.ts';
import { ARG_KINDS, ENGINE_ARGS } from './args.ts';
import { EngineClient } from './engine-client.ts';
import type { Desired, LauncherFacts } from './launcher-files.ts';
import { LauncherLink } from './launcher-link.ts';
import { exitCause, runtimeView } from './phase.ts';
import { probeTargets, probeVerdict } from './probe.ts';
import { LAUNCHER_SOURCE } from './zz_generated.launcher.ts';

const SIM = join(import.meta.dirname, '../../test/standin/vllm-sim.ts');
const SOURCE = join(import.meta.dirname, 'launcher.py');
/** A system Python first: it can be read by every user, for the test under another UID. */
const PYTHON = existsSync('/usr/bin/python3') ? '/usr/bin/python3' : 'python3';
const landlockAbi = Number(
  execFileSync(PYTHON, [
    '-c',
    'import ctypes;print(ctypes.CDLL(None).syscall(444,None,ctypes.c_size_t(0),1))',
  ]).toString(),
);

/** The real launcher.py with the stand-in as its `vllm`. */
class Rig {
  readonly dir = mkdtempSync(join(tmpdir(), 'launcher-'));
  readonly control = join(this.dir, 'control');
  readonly run = join(this.dir, 'vllm');
  readonly model = join(this.dir, 'models', `sha256-${'a'.repeat(64)}`);
  readonly link = new LauncherLink({ controlDir: this.control, engineDir: this.run }, 0);
  readonly client = new EngineClient({ socketPath: join(this.run, 'engine.sock') });
  private readonly uid: number | null;
  child: ChildProcess | null = null;
  exit: Promise<number | null> = Promise.resolve(null);

  constructor(uid: number | null = null) {
    this.uid = uid;
    for (const path of [this.run, this.model, join(this.dir, 'bin')]) mkdirSync(path, { recursive: true });
    writeFileSync(join(this.dir, 'bin/vllm'), `#!/bin/sh\nexec '${process.execPath}' '${SIM}' "$@"\n`, { mode: 0o755 });
    if (uid !== null) for (const path of [this.dir, this.run]) chmodSync(path, 0o777);
  }

  async start(env: Record<string, string> = {}): Promise<void> {
    await this.link.install();
    const argv = [join(this.control, 'launcher.py'), '--control', this.control, '--run', this.run];
    argv.push('--models', join(this.dir, 'models'));
    this.child = spawn(PYTHON, argv, {
      env: { PATH: `${join(this.dir, 'bin')}:${process.env.PATH}`, RESULTITY_SIM_LOAD_MS: '30', ...env },
      stdio: ['ignore', 'ignore', 'inherit'],
      ...(this.uid === null ? {} : { uid: this.uid, gid: this.uid }),
    });
    const child = this.child;
    this.exit = new Promise((resolve) => child.once('exit', (code) => resolve(code)));
  }

  want(more: Partial<Desired> = {}): Promise<number> {
    return this.link.desire({
      action: 'run',
      model: { name: 'm:v1', path: this.model },
      args: { 'max-num-seqs': '4' },
      env: {},
      tier: landlockAbi >= 4 ? 'sandbox' : 'none',
      restart: 0,
      probe: null,
      ...more,
    });
  }

  async until(what: string, test: (facts: LauncherFacts) => boolean): Promise<LauncherFacts> {
    for (let tries = 0; tries < 180; tries++) {
      const facts = await this.link.facts();
      if (facts && test(facts)) return facts;
      await sleep(50);
    }
    throw new Error(`never: ${what}; last ${JSON.stringify(await this.link.facts())}`);
  }

  async healthy(): Promise<void> {
    for (let tries = 0; tries < 180; tries++) {
      if ((await this.client.health()).state === 'up') return;
      await sleep(50);
    }
    throw new Error(`the engine never answered: ${JSON.stringify(await this.link.facts())}`);
  }

  async stop(): Promise<void> {
    await this.client.close();
    if (this.child && this.child.exitCode === null) {
      await this.link.drained();
      this.child.kill('SIGTERM');
      await this.exit;
    }
    rmSync(this.dir, { recursive: true, force: true });
  }
}

describe('launcher.py', function () {
  this.timeout(60_000);
  let rig: Rig;
  beforeEach(() => {
    rig = new Rig();
  });
  afterEach(() => rig.stop());

  it('waits for a desired state, then starts the engine, confines it and reports the phases', async () => {
    await rig.start();
    const waiting = await rig.until('waiting', (f) => f.phase === 'waiting');
    expect(waiting.pid).to.equal(null);
    const generation = await rig.want();
    await rig.healthy();
    const facts = await rig.until('ready', (f) => f.phase === 'ready');
    expect(facts.generation).to.equal(generation);
    expect(facts.marks.map((m) => m.phase)).to.deep.equal(['loading', 'compiling', 'capturing', 'ready']);
    expect(facts.model).to.equal('m:v1');
    expect((await rig.client.models())[0]?.id).to.equal('m:v1');
    if (landlockAbi >= 4) expect(facts.sandbox.tier).to.equal('sandbox');
  });

  it('starts another model without ending itself, and stops and starts on demand', async () => {
    await rig.start();
    await rig.want();
    await rig.healthy();
    const first = await rig.until('ready', (f) => f.phase === 'ready');
    await rig.want({ model: { name: 'other:v2', path: rig.model } });
    await rig.until('the other model', (f) => f.phase === 'ready' && f.model === 'other:v2' && f.pid !== first.pid);
    expect((await rig.client.models())[0]?.id).to.equal('other:v2');
    await rig.want({ action: 'stop' });
    const stopped = await rig.until('stopped', (f) => f.phase === 'stopped' && f.pid === null);
    expect(stopped.restarts).to.equal(0);
    await rig.want({ restart: 7 });
    await rig.healthy();
    const again = await rig.until('ready', (f) => f.phase === 'ready');
    await rig.want({ restart: 8 });
    await rig.until('restarted', (f) => f.phase === 'ready' && f.pid !== again.pid);
  });

  it('restarts a crashed engine with growing pauses and keeps its last words', async () => {
    await rig.start({ RESULTITY_SIM_MODE: 'oom' });
    await rig.want();
    const facts = await rig.until('two crashes', (f) => f.restarts >= 2 && f.phase === 'crashed');
    expect(facts.exit?.code).to.equal(1);
    expect(facts.exit?.lines.at(-1)).to.match(/OutOfMemoryError/);
    expect(runtimeView(facts, { state: 'down', why: 'refused', detail: '' }, facts.beat).reason).to.equal(
      'EngineOutOfMemory',
    );
  });

  it('counts the tries to start an engine that is not there', async () => {
    await rig.start({ RESULTITY_ENGINE: '/no/such/engine' });
    await rig.want();
    const facts = await rig.until('three tries', (f) => f.restarts >= 3);
    expect(facts).to.include({ phase: 'crashed', pid: null });
    expect(facts.reason?.code).to.equal('EngineMissing');
    expect(facts.reason?.message).to.contain('/no/such/engine');
  });

  it('bounds and strips what the engine prints', async () => {
    const script = `#!/bin/sh\ni=0; while [ $i -lt 40 ]; do printf 'line %s \\033[31mred\\007 %0900d\\n' $i 0; i=$((i+1)); done; exit 3\n`;
    writeFileSync(join(rig.dir, 'bin/vllm'), script, { mode: 0o755 });
    await rig.start();
    await rig.want();
    const lines = (await rig.until('a crash', (f) => f.exit !== null)).exit?.lines ?? [];
    expect(lines).to.have.length(20);
    expect(lines[19]).to.match(/^line 39 red 0+$/);
    expect(lines.every((l) => l.length <= 400)).to.equal(true);
  });

  for (const [what, code, more] of [
    ['an argument outside the allow-list', 'ArgumentRefused', { args: { 'trust-remote-code': 'true' } }],
    ['a value that smuggles a flag', 'ArgumentRefused', { args: { quantization: '--trust-remote-code' } }],
    ['an environment variable outside the allow-list', 'ArgumentRefused', { env: { LD_PRELOAD: '/x.so' } }],
    ['a model outside the models folder', 'ModelMissing', { model: { name: 'm:v1', path: '/etc' } }],
    ['a model that is not there', 'ModelMissing', { model: { name: 'm:v1', path: '/models/../models/x' } }],
  ] as const)
    it(`refuses ${what}`, async () => {
      await rig.start();
      await rig.want(more);
      const facts = await rig.until('a refusal', (f) => f.phase === 'crashed');
      expect(facts.reason?.code).to.equal(code);
      expect(facts.pid).to.equal(null);
      expect(existsSync(join(rig.run, 'engine.sock'))).to.equal(false);
    });

  it('does not start the engine at tier sandbox on a kernel without Landlock for the network', async () => {
    await rig.start({ RESULTITY_LANDLOCK_ABI_MAX: '3' });
    await rig.want({ tier: 'sandbox' });
    const facts = await rig.until('a refusal', (f) => f.phase === 'crashed');
    expect(facts.reason?.code).to.equal('SandboxUnavailable');
    expect(facts.sandbox).to.include({ tier: 'none', landlockAbi: 3 });
    expect(facts.sandbox.error).to.match(/kernel .* has Landlock ABI 3/);
    expect(facts.pid).to.equal(null);
  });

  it('on SIGTERM says so, keeps the engine until drained, then ends it and exits 0', async () => {
    await rig.start();
    await rig.want();
    await rig.healthy();
    rig.child?.kill('SIGTERM');
    await rig.until('draining', (f) => f.phase === 'draining');
    expect(await rig.link.terminating()).to.equal(true);
    expect((await rig.client.health()).state).to.equal('up');
    await rig.link.drained();
    expect(await rig.exit).to.equal(0);
    expect((await rig.client.health()).state).to.equal('down');
  });

  it('on SIGTERM does not wait past the grace for an agent that is gone', async () => {
    await rig.start({ RESULTITY_GRACE_SECONDS: '21' });
    await rig.want();
    await rig.healthy();
    rig.child?.kill('SIGTERM');
    expect(await rig.exit).to.equal(0);
    expect(existsSync(join(rig.control, 'drained'))).to.equal(false);
  });

  it('keeps the desired state while the file is unreadable', async () => {
    await rig.start();
    await rig.want();
    await rig.healthy();
    writeFileSync(join(rig.control, 'desired.json'), '{"v":1,');
    await rig.until('the reason', (f) => f.reason?.code === 'DesiredUnreadable');
    expect((await rig.client.health()).state).to.equal('up');
  });

  for (const uid of [null, 2000])
    it(`closes every way out, proved by a probe inside the sandbox (${uid ?? 'own'} user)`, async function () {
      if (landlockAbi < 4) {
        console.warn(`skipped: this kernel has Landlock ABI ${landlockAbi}, the sandbox needs 4`);
        return this.skip();
      }
      if (uid !== null && process.getuid?.() !== 0) {
        console.warn('skipped: only root can become another user');
        return this.skip();
      }
      if (uid !== null) {
        await rig.stop();
        rig = new Rig(uid);
        // the stand-in under another user needs a node that this user can read; a shell is engine enough here
        writeFileSync(join(rig.dir, 'bin/vllm'), '#!/bin/sh\nexec sleep 60\n', { mode: 0o755 });
      }
      await rig.start();
      const targets = [...probeTargets({ apiServer: '127.0.0.1:6443', network: '[::1]:8443' }), 'udp:127.0.0.1:53'];
      await rig.want({ probe: { n: 1, targets } });
      const facts = await rig.until('the probe', (f) => f.probe?.n === 1);
      expect(probeVerdict(facts, 1, targets)).to.deep.include({ proved: true });
      expect(facts.probe?.results.map((r) => r.outcome)).to.deep.equal(targets.map(() => 'blocked'));
      expect(probeVerdict(facts, 2, targets).proved).to.equal(false);
    });

  it('does not take a refused connection for a proof', async () => {
    await rig.start();
    await rig.want({ tier: 'none', probe: { n: 1, targets: ['tcp:127.0.0.1:9'] } });
    const facts = await rig.until('the probe', (f) => f.probe?.n === 1);
    expect(facts.probe?.results[0]).to.include({ outcome: 'refused' });
    expect(probeVerdict(facts, 1, ['tcp:127.0.0.1:9']).proved).to.equal(false);
  });
});

describe('launcher source', () => {
  it('holds the same allow-lists as args.ts', () => {
    const script = `import sys,json,importlib.util as u;s=u.spec_from_file_location('l','${SOURCE}');m=u.module_from_spec(s);sys.dont_write_bytecode=True;s.loader.exec_module(m);print(json.dumps([m.ARGS,m.KINDS,sorted(m.ENV)]))`;
    const [args, kinds, env] = JSON.parse(execFileSync(PYTHON, ['-c', script]).toString());
    expect(args).to.deep.equal(ENGINE_ARGS);
    expect(kinds).to.deep.equal(ARG_KINDS);
    expect(env).to.deep.equal([...allowedRuntimeEnv].sort());
  });

  it('is at most 300 lines of code and is the text in the bundle', () => {
    const code = readFileSync(SOURCE, 'utf8')
      .replace(/^\s*"""[^"]*"""$/gm, '')
      .split('\n')
      .filter((line) => line.trim() !== '' && !line.trim().startsWith('#'));
    expect(code.length).to.be.at.most(300);
    expect(LAUNCHER_SOURCE).to.equal(readFileSync(SOURCE, 'utf8'));
    expect(generateLauncher()[0]?.text).to.contain(JSON.stringify(LAUNCHER_SOURCE));
  });
});

describe('exit causes', () => {
  const exit = (lines: string[], code: number | null = 1, signal: number | null = null) => ({ code, signal, lines });
  it('names the length that would fit when the KV cache is too small', () => {
    const old = exitCause(
      exit([
        "ValueError: The model's max seq len (131072) is larger than the maximum number of tokens that can be stored in KV cache (41136). Try increasing",
      ]),
    );
    expect(old.reason).to.equal('KVCacheTooSmall');
    expect(old.message).to.contain('max-model-len 41136 would fit');
    const recent = exitCause(
      exit([
        "ValueError: To serve at least one request with the models's max seq len (40960), (5.62 GiB KV cache is needed, which is larger than the available KV cache memory (3.2 GiB). Based on the available memory, the estimated maximum model length is 23296.",
      ]),
    );
    expect(recent.message).to.contain('max-model-len 23296 would fit');
  });
  it('tells a refused flag, a missing file, a kill and the unknown apart', () => {
    expect(exitCause(exit(['vllm: error: unrecognized arguments: --foo'], 2)).reason).to.equal('ArgumentRefused');
    expect(exitCause(exit(['OSError: /m does not appear to have a file named config.json'])).reason).to.equal(
      'ModelMissing',
    );
    expect(exitCause(exit([], null, 9)).reason).to.equal('EngineOutOfMemory');
    expect(exitCause(exit(['Segmentation fault'], null, 11)).reason).to.equal('EngineDead');
  });
});
