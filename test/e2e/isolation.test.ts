import { expect } from 'chai';
import { e2e, NS } from './setup.ts';

/** Tries every way out from a process that the launcher's sandbox holds: a child of the launcher itself, by its own probe. */
const attempt = (code: string): string => `
import socket, sys
def t(f):
    try:
        f(); return 'open'
    except PermissionError:
        return 'blocked'
    except OSError as e:
        return 'error ' + str(e.errno)
${code}
`;

describe('the runtime’s sandbox', () => {
  const apiServer = async (): Promise<string> =>
    (
      await e2e().target.kubectl(['get', 'svc', 'kubernetes', '-n', 'default', '-o', 'jsonpath={.spec.clusterIP}'])
    ).trim();

  it('is proved before Active, and says so', async () => {
    const { get } = e2e();
    const node = await get('rnode', 'demo-0');
    expect(node.status.agent.isolation.tier).to.be.oneOf(['sandbox', 'sandbox+policy']);
    expect(node.status.agent.isolation.provedAt).to.be.a('string');
  });
  it('holds the engine: seccomp filters and no_new_privs on its processes, which a fresh exec does not have', async () => {
    const { inPod } = e2e();
    const status = JSON.parse(
      await inPod(
        'runtime',
        `
import json, os
out = {}
for p in os.listdir('/proc'):
    if p.isdigit():
        try:
            cmd = open('/proc/%s/cmdline' % p).read().replace(chr(0), ' ').strip()
            s = dict(l.split(':', 1) for l in open('/proc/%s/status' % p).read().splitlines() if ':' in l)
            out[p] = [cmd[:80], s['Seccomp_filters'].strip(), s['NoNewPrivs'].strip()]
        except OSError: pass
print(json.dumps(out))`,
      ),
    ) as Record<string, [string, string, string]>;
    const own = Object.values(status).find(([cmd]) => cmd.includes('import json'));
    const engine = Object.values(status).filter(([cmd]) => cmd.includes(' serve '));
    expect(engine.length).to.be.greaterThan(0);
    for (const [cmd, filters, noNewPrivs] of engine) {
      expect(noNewPrivs, cmd).to.equal('1');
      expect(Number(filters), cmd).to.be.greaterThan(Number(own?.[1] ?? 0));
    }
  });
  it('blocks TCP, UDP, raw sockets, MPTCP and TCP fast open to API server, DNS, metadata and public addresses', async () => {
    const { inPod } = e2e();
    const ip = await apiServer();
    const out = await inPod(
      'runtime',
      // the sandbox is put on by the launcher's own code, then every way is tried under it
      attempt(`
import importlib.util
spec = importlib.util.spec_from_file_location('launcher', '/run/resultity/control/launcher.py')
launcher = importlib.util.module_from_spec(spec); spec.loader.exec_module(launcher)
launcher.sandbox()
T, U = socket.SOCK_STREAM, socket.SOCK_DGRAM
def tcp(h, p): s = socket.socket(socket.AF_INET, T); s.settimeout(3); s.connect((h, p))
def fast(h, p): s = socket.socket(socket.AF_INET, T); s.settimeout(3); s.sendto(b'x', 0x20000000, (h, p))
r = {
 'tcp api': t(lambda: tcp('${ip}', 443)), 'tcp dns': t(lambda: tcp('10.244.0.1', 53)),
 'tcp metadata': t(lambda: tcp('169.254.169.254', 80)), 'tcp public': t(lambda: tcp('1.1.1.1', 443)),
 'udp': t(lambda: socket.socket(socket.AF_INET, U)), 'udp6': t(lambda: socket.socket(socket.AF_INET6, U)),
 'raw': t(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)), 'mptcp': t(lambda: socket.socket(socket.AF_INET, T, 262)),
 'packet': t(lambda: socket.socket(17, socket.SOCK_RAW, 0)), 'fastopen': t(lambda: fast('${ip}', 443)),
}
import json; print(json.dumps(r))`),
    );
    const results = JSON.parse(out.trim().split('\n').at(-1) ?? '{}') as Record<string, string>;
    expect(Object.keys(results)).to.have.length(10);
    for (const [way, outcome] of Object.entries(results)) expect(outcome, way).to.equal('blocked');
  });
  it('leaves the agent its way to the network', async () => {
    const { inPod } = e2e();
    const out = await inPod(
      'agent',
      `require('net').connect(8443,'resultity-network.resultity-system.svc').on('connect',function(){console.log('connected');this.destroy()}).on('error',e=>console.log(e.code))`,
    );
    expect(out.trim()).to.equal('connected');
  });
  it('gives the runtime neither key nor token', async () => {
    const { get } = e2e();
    const pod = await get('pod', 'demo-0');
    const mounts = pod.spec.containers[0].volumeMounts.map((m: { mountPath: string }) => m.mountPath);
    for (const secret of [
      '/etc/resultity/key',
      '/var/run/secrets/resultity.com/serviceaccount',
      '/var/run/secrets/kubernetes.io/serviceaccount',
      '/state',
    ])
      expect(mounts).to.not.include(secret);
  });
  it('does not let the agent’s own token write another node, its conditions or its spec', async () => {
    const { apply, inPod, k } = e2e();
    await apply({
      apiVersion: 'resultity.com/v1alpha1',
      kind: 'ResultityNode',
      metadata: { name: 'victim' },
      spec: { networkRef: { name: 'no-such-network' }, owner: { email: 'a@example.com' } },
    });
    try {
      const call = (path: string, body: object): string => `
const fs=require('fs');const d='/var/run/secrets/resultity.com/serviceaccount/';
const r=require('https').request({host:process.env.KUBERNETES_SERVICE_HOST,port:process.env.KUBERNETES_SERVICE_PORT,ca:fs.readFileSync(d+'ca.crt'),method:'PATCH',path:'/apis/resultity.com/v1alpha1/namespaces/${NS}/resultitynodes/${path}',headers:{authorization:'Bearer '+fs.readFileSync(d+'token','utf8'),'content-type':'application/merge-patch+json'}},a=>{console.log(a.statusCode);a.resume()});r.end(${JSON.stringify(JSON.stringify(body))})`;
      const agentPart = { status: { agent: { version: 'evil' } } };
      for (const [path, body, wanted] of [
        ['victim/status', agentPart, 422],
        ['demo-0/status', { status: { conditions: [] } }, 422],
        ['demo-0/status', { status: { phase: 'Paused' } }, 422],
        ['demo-0', { spec: { paused: true } }, 403],
      ] as const)
        expect((await inPod('agent', call(path, body))).trim(), `${path} ${JSON.stringify(body)}`).to.equal(
          String(wanted),
        );
    } finally {
      await k('delete', 'rnode', 'victim', '--timeout=60s');
    }
  });
});
