import { expect } from 'chai';
import { lineOf, runCases, type Verdict } from '../conformance/kit/index.ts';
import { MinimalNetwork } from '../conformance/network/index.ts';
import { AGENT_CASES, NETWORK_CASES, NetworkContext } from '../conformance/suites/index.ts';
import { AgentRig } from '../support/agent-rig.ts';
import { API_KEY, ServiceRig } from '../support/service-rig.ts';

/**
 * Cases that the document demands and this implementation fails today, each with why. Empty is the goal.
 */
const KNOWN_FAILURES: Record<string, string> = {};

const unexpected = (verdicts: readonly Verdict[]): string[] =>
  verdicts.filter((v) => v.outcome === 'fail' && !Object.hasOwn(KNOWN_FAILURES, v.title)).map(lineOf);
const log = (v: Verdict): void => {
  if (process.env.CONFORMANCE_LOG) process.stdout.write(`${lineOf(v)}\n`);
};

describe('conformance of this implementation, by the suites written from docs/protocol.md alone', function () {
  this.timeout(240_000);

  it('the network service passes the cases of a network', async () => {
    const rig = await ServiceRig.start({}, { callsPerNode: 10_000 });
    await rig.publish();
    const context = new NetworkContext({ endpoint: rig.url, root: rig.kit.pinnedRoot, apiKey: API_KEY, seed: 'ci' });
    try {
      expect(unexpected(await runCases(NETWORK_CASES, context, log))).to.deep.equal([]);
    } finally {
      await context.close();
      await rig.stop();
    }
  });

  it('the agent passes the cases of an agent', async () => {
    const network = await MinimalNetwork.listen({ model: 'tiny:v1' });
    const rig = new AgentRig({
      endpoint: network.endpoint,
      network: 'conformance',
      pinnedRoot: network.publisher.roots[0] ?? '',
    });
    try {
      await rig.startAgent();
      rig.startLauncher();
      expect(unexpected(await runCases(AGENT_CASES, network, log))).to.deep.equal([]);
      expect(network.problems).to.deep.equal([]);
    } finally {
      if (process.env.CONFORMANCE_LOG) process.stdout.write(rig.logs.slice(-60).join(''));
      await rig.close();
      await network.close();
    }
  });
});
