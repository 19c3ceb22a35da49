#!/usr/bin/env python3
"""Resultity launcher: starts, confines, restarts and reports the inference engine. Standard library only, Python >= 3.9.

Reads <control>/desired.json (written by the agent), writes <run>/launcher.json (facts only: the agent maps and judges).
Confines *itself* before the first engine start, so the engine and the egress probe inherit the very same sandbox.
Usage: launcher.py [--control DIR] [--run DIR] [--models DIR]
"""
import argparse, concurrent.futures, contextlib, ctypes, errno, json, os, pathlib, platform, re, select, shutil, signal, socket, struct, subprocess, sys, time

VERSION = "1"
PORTS = range(29500, 30000)  # equals the pod's ip_local_port_range: loopback rendezvous of torch and gloo
LIBC = ctypes.CDLL(None, use_errno=True)
ARCH = {"x86_64": (0xC000003E, 41, 44, 46, 307), "aarch64": (0xC00000B7, 198, 206, 211, 269)}  # audit, socket, sendto, sendmsg, sendmmsg
FASTOPEN = 0x20000000
# The allow-list; src/runtime/args.ts holds the same and a test compares them.
ARGS = {
    "max-model-len": "int", "max-num-seqs": "int", "max-num-batched-tokens": "int", "gpu-memory-utilization": "float",
    "tensor-parallel-size": "int", "pipeline-parallel-size": "int", "dtype": "auto|half|float16|bfloat16|float|float32",
    "quantization": "word", "kv-cache-dtype": "word", "enable-prefix-caching": "bool", "enforce-eager": "bool",
    "load-format": "auto|safetensors|fastsafetensors|mistral|bitsandbytes|sharded_state", "swap-space": "float",
    "runner": "auto|generate|pooling", "convert": "auto|none|embed|classify", "shutdown-timeout": "int",
}
ENV = set("""VLLM_CPU_KVCACHE_SPACE VLLM_CPU_OMP_THREADS_BIND VLLM_CPU_NUM_OF_RESERVED_CPU VLLM_ATTENTION_BACKEND VLLM_LOGGING_LEVEL
VLLM_USE_FLASHINFER_SAMPLER VLLM_WORKER_MULTIPROC_METHOD VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS OMP_NUM_THREADS
MKL_NUM_THREADS NCCL_DEBUG NCCL_P2P_DISABLE NCCL_P2P_LEVEL NCCL_SHM_DISABLE NCCL_IB_DISABLE PYTORCH_ALLOC_CONF PYTORCH_CUDA_ALLOC_CONF CUDA_DEVICE_ORDER
CUDA_MODULE_LOADING TORCHINDUCTOR_COMPILE_THREADS TOKENIZERS_PARALLELISM MALLOC_ARENA_MAX TZ""".split())
KINDS = {"int": r"[0-9]{1,9}", "float": r"[0-9]{1,6}(\.[0-9]{1,6})?", "word": r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", "bool": "true|false"}
FORCED = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1",
          "VLLM_HOST_IP": "127.0.0.1", "NCCL_SOCKET_IFNAME": "lo", "GLOO_SOCKET_IFNAME": "lo"}
MARKS = (("capturing", re.compile(r"Capturing CUDA graph|Graph capturing|Capturing graphs")),
         ("compiling", re.compile(r"torch\.compile (takes|and )|Dynamo bytecode|Compiling a graph|Warming up model for the comp")),
         ("ready", re.compile(r"Application startup complete|Uvicorn running on")),
         ("loading", re.compile(r"Starting to load model|Loading (safetensors|model) |Loading weights|checkpoint shards")))
ORDER, GPU = ["loading", "compiling", "capturing", "ready"], "index,uuid,name,memory.total,memory.used,utilization.gpu,temperature.gpu,driver_version,compute_cap"

def now():
    return int(time.time() * 1000)

def write(path, value):
    pathlib.Path(path + ".tmp").write_text(json.dumps(value))
    os.rename(path + ".tmp", path)

def unlink(path):
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)

def call(nr, *args):
    got = LIBC.syscall(ctypes.c_long(nr), *args)
    if got < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return got

def landlock_abi():
    abi = 0
    with contextlib.suppress(OSError):
        abi = call(444, None, ctypes.c_size_t(0), ctypes.c_uint(1))
    return min(abi, int(os.environ.get("RESULTITY_LANDLOCK_ABI_MAX", "99")))  # can only lower: for the old-kernel test

def bpf_filter():
    """The classic BPF program. Jumps are by label, resolved at the end."""
    audit, n_socket, n_sendto, n_sendmsg, n_sendmmsg = ARCH[platform.machine()]
    ld, jeq, jgt, jge, jset, ret, land = 0x20, 0x15, 0x25, 0x35, 0x45, 0x06, 0x54
    low = lambda i: 16 + 8 * i  # little-endian low word; the kernel truncates these arguments to int as well
    x32 = [(None, jge, 0x40000000, "eacces", 0)] if platform.machine() == "x86_64" else []  # it has its own call numbers
    code = [(None, ld, 4, 0, 0), (None, jeq, audit, 0, "kill"), (None, ld, 0, 0, 0), *x32,
            (None, jge, 425, 0, "calls"), (None, jgt, 427, "calls", "eperm"),  # io_uring_setup, _enter, _register
            ("calls", jeq, n_socket, "socket", 0), (None, jeq, n_sendto, "flags3", 0), (None, jeq, n_sendmsg, "flags2", 0),
            (None, jeq, n_sendmmsg, "flags3", "allow"),
            ("flags3", ld, low(3), 0, 0), (None, jset, FASTOPEN, "eacces", "allow"),  # fast open carries data past the connect hook
            ("flags2", ld, low(2), 0, 0), (None, jset, FASTOPEN, "eacces", "allow"),
            ("socket", ld, low(0), 0, 0), (None, jeq, socket.AF_UNIX, "allow", 0), (None, jeq, 16, "allow", 0),  # netlink
            (None, jeq, socket.AF_INET, "inet", 0), (None, jeq, socket.AF_INET6, "inet", "eacces"),
            ("inet", ld, low(1), 0, 0), (None, land, 0xF, 0, 0), (None, jeq, socket.SOCK_STREAM, 0, "eacces"),
            (None, ld, low(2), 0, 0), (None, jgt, 6, "eacces", "allow"),  # no MPTCP, SCTP
            ("kill", ret, 0x80000000, 0, 0), ("eperm", ret, 0x50000 | errno.EPERM, 0, 0),
            ("eacces", ret, 0x50000 | errno.EACCES, 0, 0), ("allow", ret, 0x7FFF0000, 0, 0)]
    at = {c[0]: i for i, c in enumerate(code) if c[0]}
    hop = lambda i, x: at[x] - i - 1 if isinstance(x, str) else x
    return b"".join(struct.pack("HBBI", op, hop(i, t), hop(i, f), k) for i, (_, op, k, t, f) in enumerate(code)), len(code)

def sandbox():
    """Confine this (single) thread and everything it will ever start. Raises OSError; a half-done sandbox only closes more."""
    abi = landlock_abi()
    if abi < 4:
        raise OSError(errno.ENOSYS, "kernel %s has Landlock ABI %d; the sandbox needs 4 (Linux 6.7)" % (platform.release(), abi))
    if platform.machine() not in ARCH or LIBC.prctl(38, 1, 0, 0, 0):  # PR_SET_NO_NEW_PRIVS
        raise OSError(errno.ENOSYS, "no_new_privs refused, or no system call filter for architecture " + platform.machine())
    # handled: no files, TCP connect; scoped (ABI 6): abstract sockets and signals stay within this domain, which the engine shares
    attr = struct.pack("QQQ", 0, 2, 3) if abi >= 6 else struct.pack("QQ", 0, 2)
    fd = call(444, ctypes.c_char_p(attr), ctypes.c_size_t(len(attr)), ctypes.c_uint(0))
    for port in PORTS:
        call(445, ctypes.c_int(fd), ctypes.c_int(2), ctypes.c_char_p(struct.pack("QQ", 2, port)), ctypes.c_uint(0))
    call(446, ctypes.c_int(fd), ctypes.c_uint(0))
    os.close(fd)
    raw, count = bpf_filter()
    held = ctypes.create_string_buffer(raw, len(raw))
    prog = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", count, ctypes.addressof(held)), 16)
    if LIBC.prctl(22, 2, ctypes.byref(prog), 0, 0):  # PR_SET_SECCOMP, filter
        raise OSError(ctypes.get_errno(), "seccomp filter refused")

def tried(work):
    """(outcome, errno) of one attempt to get out. Only `blocked` is the sandbox itself speaking."""
    try:
        work()
        return "open", None
    except OSError as e:
        return {None: "timeout", errno.ETIMEDOUT: "timeout", errno.EACCES: "blocked", errno.EPERM: "blocked", errno.EINPROGRESS: "open",
                errno.ECONNREFUSED: "refused", errno.EHOSTUNREACH: "unreachable", errno.ENETUNREACH: "unreachable"}.get(e.errno, "error"), e.errno
    except Exception:
        return "error", None

def dial(host, port, kind=socket.SOCK_STREAM, proto=0, send=None):
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind, proto) as s:
        s.settimeout(2)
        if send:
            return send(s, (host, port))
        s.connect((host, port))
        if kind == socket.SOCK_DGRAM:
            s.send(b"\0")

def probe_one(target):
    kind, _, rest = target.partition(":")
    host, _, port = rest.rpartition(":") if kind in ("tcp", "udp", "fastopen", "mptcp") else (rest, "", "0")
    at = (host.strip("[]"), int(port) if port.isdigit() else 0)
    server = ("192.0.2.53", 53)
    if kind == "dns":
        with contextlib.suppress(OSError):
            server = ((re.findall(r"^nameserver\s+(\S+)", pathlib.Path("/etc/resolv.conf").read_text(), re.M) or [server[0]])[0], 53)
    ways = {"tcp": [lambda: dial(*at)], "mptcp": [lambda: dial(*at, proto=262)], "udp": [lambda: dial(*at, kind=socket.SOCK_DGRAM)],
            "raw": [lambda: dial(at[0], 0, socket.SOCK_RAW, 1)], "iouring": [lambda: call(425, ctypes.c_uint(1), None)],
            "fastopen": [lambda: dial(*at, send=lambda s, to: s.sendto(b"x", FASTOPEN, to)),
                         lambda: dial(*at, send=lambda s, to: s.sendmsg([b"x"], [], FASTOPEN, to)), 
                         lambda: dial(*at, send=lambda s, _: call(ARCH[platform.machine()][4], s.fileno(), None, 0, ctypes.c_uint(FASTOPEN)))],
            "dns": [lambda: dial(*server, kind=socket.SOCK_DGRAM), lambda: dial(*server)]}.get(kind, [lambda: [][0]])
    tries = [tried(way) for way in ways]
    if kind == "dns" and tried(lambda: socket.getaddrinfo(host or rest, 443))[0] == "open":
        tries.append(("open", None))
    outcome, code = next((t for t in tries if t[0] == "open"), next((t for t in tries if t[0] != "blocked"), tries[0]))
    return {"target": target, "outcome": outcome, **({} if code is None else {"errno": code})}

def probe_main(targets):
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        print(json.dumps(list(pool.map(probe_one, targets[:32]))), flush=True)

class Refused(Exception):
    """(code, text) of a desired state that is not carried out."""

def command(want, models, sock):
    """argv and environment of the engine, or Refused. Everything in desired.json counts as hostile."""
    model, args, env = want.get("model") or {}, want.get("args") or {}, want.get("env") or {}
    name, path = str(model.get("name")), os.path.realpath(str(model.get("path")))
    if not re.fullmatch(r"[a-z0-9][a-z0-9._/-]{0,127}:[A-Za-z0-9._-]{1,63}", name):
        raise Refused("ModelRefused", "malformed model name")
    if not path.startswith(os.path.realpath(models) + "/") or not os.path.isdir(path):
        raise Refused("ModelMissing", "no model folder at %s" % path[:200])
    argv = [os.environ.get("RESULTITY_ENGINE", "vllm"), "serve", path, "--uds", sock, "--served-model-name", name, "--disable-uvicorn-access-log"]
    for key in sorted(args):
        kind, value = ARGS.get(key), args[key]
        value = str(value).lower() if isinstance(value, bool) else str(value)
        if kind is None or not re.fullmatch(KINDS.get(kind, kind), value):
            raise Refused("ArgumentRefused", "engine argument not allowed: --%s=%s" % (key[:64], value[:64]))
        argv.append("--%s%s" % ("no-" if value == "false" else "", key) if kind == "bool" else "--%s=%s" % (key, value))
    for key in env:
        if key not in ENV or not re.fullmatch(r"[\x20-\x7e]{0,256}", str(env[key])):
            raise Refused("ArgumentRefused", "environment variable not allowed: %s" % key[:64])
    return argv, {**os.environ, **{k: str(v) for k, v in env.items()}, **FORCED}

class Launcher:
    def __init__(self, control, run, models):
        self.control, self.run_dir, self.models, self.sock = control, run, models, os.path.join(run, "engine.sock")
        self.want, self.seen, self.spec, self.engine, self.tail, self.part = {}, None, None, None, [], b""
        self.next_start, self.back_off, self.kill_at, self.term_at, self.dirty, self.beat = 0.0, 1.0, None, None, True, 0.0
        self.jobs, self.probed, self.smi_next, self.born = {}, None, 0.0, time.time()
        self.grace = max(0.0, float(os.environ.get("RESULTITY_GRACE_SECONDS", "60")) - 20)
        self.facts = {"v": 1, "launcherVersion": VERSION, "generation": 0, "phase": "waiting", "model": None, "pid": None, "startedAt": None,
                      "restarts": 0, "exit": None, "reason": None, "probe": None, "gpus": [], "marks": [],
                      "sandbox": {"tier": "none", "landlockAbi": landlock_abi(), "kernel": platform.release()}}

    def set(self, **changes):
        self.facts.update(changes)
        self.dirty = True

    def phase(self, name):
        if self.facts["phase"] != name:
            self.set(phase=name, marks=(self.facts["marks"] + [{"phase": name, "at": now()}])[-16:])

    def read_desired(self):
        path = os.path.join(self.control, "desired.json")
        try:
            st = os.stat(path)
            if (st.st_mtime_ns, st.st_ino) == self.seen:
                return
            want = json.loads(pathlib.Path(path).read_text()[:262144])
            if want.get("v") != 1 or not isinstance(want.get("generation"), int):
                raise ValueError("desired.json is not of version 1")
        except FileNotFoundError:
            return
        except (ValueError, AttributeError, OSError) as error:
            return self.set(reason={"code": "DesiredUnreadable", "message": str(error)[:200]})
        self.seen, self.want = (st.st_mtime_ns, st.st_ino), want
        self.set(generation=want["generation"], reason=None)
        spec = [want.get(k) for k in ("action", "model", "args", "env", "restart", "tier")]
        if spec != self.spec:
            self.spec, self.next_start, self.back_off = spec, 0.0, 1.0
            if self.engine:
                self.stop_engine()
            elif want.get("action") != "run":
                self.phase("stopped")
        self.confined()

    def confined(self):
        """True when what starts now is as confined as desired. Never done under a live engine: that one would stay outside."""
        box = self.facts["sandbox"]
        if self.want.get("tier") != "none" and box["tier"] != "sandbox" and not self.engine:
            try:
                sandbox()
                self.set(sandbox={"tier": "sandbox", "landlockAbi": box["landlockAbi"], "kernel": box["kernel"]})
            except OSError as error:
                self.set(sandbox={**box, "error": str(error)[:200]})
        return self.want.get("tier") == "none" or self.facts["sandbox"]["tier"] == "sandbox"

    def start_engine(self):
        try:
            if not self.confined():
                raise Refused("SandboxUnavailable", self.facts["sandbox"]["error"])
            argv, env = command(self.want, self.models, self.sock)
            unlink(self.sock)
            self.tail, self.part = [], b""
            self.engine = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
            os.set_blocking(self.engine.stdout.fileno(), False)
            self.set(pid=self.engine.pid, startedAt=now(), reason=None, marks=[], model=self.want["model"]["name"])
            self.phase("loading")
        except (Refused, OSError) as error:
            code, text = error.args if isinstance(error, Refused) else ("EngineMissing", str(error))
            self.set(reason={"code": code, "message": text[:240]}, restarts=self.facts["restarts"] + (code == "EngineMissing"))
            self.crash()

    def crash(self):
        self.phase("crashed")
        self.next_start, self.back_off = time.monotonic() + self.back_off, min(60.0, self.back_off * 2)

    def stop_engine(self):
        if self.engine and self.kill_at is None:
            self.kill_at = time.monotonic() + 15
            self.engine.terminate()

    def pump(self, raw):
        os.write(1, raw)
        lines = re.split(rb"[\r\n]+", self.part + raw)
        self.part = lines.pop()[-4096:]
        for line in lines:
            text = "".join(c for c in re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", line.decode("utf-8", "replace")) if c.isprintable())[:400]
            self.tail = (self.tail + [text])[-20:] if text else self.tail
            mark = next((name for name, pattern in MARKS if pattern.search(text)), None)
            if mark and self.facts["phase"] in ORDER and ORDER.index(mark) > ORDER.index(self.facts["phase"]):  # forward only
                self.phase(mark)
        return bool(raw)

    def ended(self, code):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.engine.pid, signal.SIGKILL)  # workers that outlived it still hold the device
        any(not self.read_out() for _ in range(64))
        self.pump(b"\n")
        asked, lived = self.kill_at is not None, now() - self.facts["startedAt"]
        self.engine = self.kill_at = None
        self.set(pid=None, exit={"code": code if code >= 0 else None, "signal": -code if code < 0 else None, "lines": self.tail})
        if asked:
            return self.phase("stopped")
        self.back_off = 1.0 if lived > 60000 else self.back_off
        self.set(restarts=self.facts["restarts"] + 1)
        self.crash()

    def read_out(self):
        with contextlib.suppress(BlockingIOError):
            return self.pump(os.read(self.engine.stdout.fileno(), 65536))

    def beside(self, name, argv, due):
        """Runs a helper as a child, so that it cannot hold up the loop. Its output once it has ended, else None."""
        if due and name not in self.jobs:
            self.jobs[name] = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        if name in self.jobs and self.jobs[name].poll() is not None:
            return self.jobs.pop(name).communicate()[0].decode("utf-8", "replace")

    def helpers(self):
        ask, clock = self.want.get("probe") or {}, time.monotonic()
        targets = [str(t)[:256] for t in (ask.get("targets") or [])][:32]
        due = ask.get("n") not in (None, self.probed) and "probe" not in self.jobs
        self.probed = ask["n"] if due else self.probed
        out = self.beside("probe", [sys.executable, "-I", os.path.abspath(__file__), "--probe", json.dumps(targets)], due)
        if out is not None:  # nothing printed: nothing proved
            self.set(probe={"n": self.probed, "results": json.loads(out or "[]"), "tier": self.facts["sandbox"]["tier"], "at": now()})
        due = clock >= self.smi_next and shutil.which("nvidia-smi")
        self.smi_next = clock + 10 if due else self.smi_next
        out = self.beside("smi", ["nvidia-smi", "--query-gpu=" + GPU, "--format=csv,noheader,nounits"], due)
        if out is not None:
            rows = [[c.strip() for c in line.split(",")] for line in out.splitlines()[:64]]
            self.set(gpus=[dict(zip(GPU.split(","), row)) for row in rows if len(row) == GPU.count(",") + 1])

    def reap(self):
        """As process 1 the launcher inherits orphans; ours are left to Popen."""
        mine = [p.pid for p in (self.engine, *self.jobs.values()) if p]
        with contextlib.suppress(ChildProcessError):
            while (got := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and got.si_pid not in mine:
                os.waitpid(got.si_pid, 0)

    def drained(self):
        with contextlib.suppress(FileNotFoundError):  # one older than this launcher belongs to an earlier life of the container
            return os.stat(os.path.join(self.control, "drained")).st_mtime >= self.born - 1

    def step(self):
        clock = time.monotonic()
        if self.term_at is None:
            self.read_desired()
        self.helpers()
        code = self.engine.poll() if self.engine else None
        if code is not None:
            self.ended(code)
        if self.engine and self.kill_at is not None and clock >= self.kill_at:
            os.killpg(self.engine.pid, signal.SIGKILL)
        if self.term_at is not None:
            if self.facts["phase"] != "draining":
                write(os.path.join(self.run_dir, "terminating"), {"at": now()})
                self.phase("draining")
            if self.engine and (self.drained() or clock >= self.term_at + self.grace):
                self.stop_engine()
        elif self.engine is None and self.want.get("action") == "run" and clock >= self.next_start:
            self.start_engine()
        if self.dirty or clock >= self.beat:
            self.dirty, self.beat = False, clock + 1
            write(os.path.join(self.run_dir, "launcher.json"), {**self.facts, "beat": now()})
        self.reap()

    def loop(self):
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "term_at", self.term_at or time.monotonic()))
        unlink(self.sock)
        unlink(os.path.join(self.run_dir, "terminating"))
        while self.term_at is None or self.engine or self.facts["phase"] != "draining":
            self.step()
            if select.select([self.engine.stdout] if self.engine else [], [], [], 0.25)[0] and not self.read_out():
                time.sleep(0.1)  # the engine closed its output and is about to exit
        return 0

if __name__ == "__main__":
    os.umask(0o007)  # the agent is another user of the same group
    cli = argparse.ArgumentParser()
    for flag, default in (("control", "/run/resultity/control"), ("run", "/run/resultity/vllm"), ("models", "/models"), ("probe", None)):
        cli.add_argument("--" + flag, default=os.environ.get("RESULTITY_" + flag.upper() + "_DIR", default))
    given = cli.parse_args()
    sys.exit(probe_main(json.loads(given.probe)) if given.probe else Launcher(given.control, given.run, given.models).loop())
