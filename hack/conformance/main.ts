/**
 * `npm run conformance`: runs the cases of docs/protocol.md against an implementation. See docs/conformance.md.
 *   -- --network URL --root FILE [--ca FILE] [--api-key KEY] [--seed TEXT]   against a running network service
 *   -- --agent [--port N] [--model NAME:VERSION] [--wait SECONDS]            against the agent that then connects
 *   --json   the report as JSON on stdout instead of text
 * Exits 1 when a case fails, 2 on wrong usage.
 */
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { lineOf, runCases, summaryOf, type Verdict } from '../../test/conformance/kit/index.ts';
import { MinimalNetwork } from '../../test/conformance/network/index.ts';
import { AGENT_CASES, NETWORK_CASES, NetworkContext } from '../../test/conformance/suites/index.ts';

const USAGE = `usage: npm run conformance -- --network URL --root FILE [--ca FILE] [--api-key KEY] [--seed TEXT] [--json]
       npm run conformance -- --agent [--port N] [--model NAME:VERSION] [--wait SECONDS] [--json]`;
const wrong = (message: string): never => {
  process.stderr.write(`conformance: ${message}\n${USAGE}\n`);
  process.exit(2);
};
const options = {
  network: { type: 'string' },
  root: { type: 'string' },
  ca: { type: 'string' },
  'api-key': { type: 'string' },
  seed: { type: 'string', default: String(Date.now()) },
  agent: { type: 'boolean', default: false },
  port: { type: 'string', default: '0' },
  model: { type: 'string', default: 'tiny:v1' },
  wait: { type: 'string', default: '600' },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const;
const parse = () => {
  try {
    return parseArgs({ options }).values;
  } catch (error) {
    return wrong((error as Error).message);
  }
};
const values = parse();
if (values.help) {
  process.stdout.write(`${USAGE}\n`);
  process.exit(0);
}
const say = (line: string): void => void (values.json ? process.stderr : process.stdout).write(`${line}\n`);
const each = (verdict: Verdict): void => {
  if (!values.json) say(lineOf(verdict));
};
const read = (path: string): string => {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    return wrong((error as Error).message);
  }
};

if (values.agent === (values.network !== undefined)) wrong('give either --network URL or --agent');
const verdicts = values.agent ? await tryAgent() : await tryNetwork(values.network ?? '');
if (values.json)
  process.stdout.write(`${JSON.stringify({ summary: summaryOf(verdicts), cases: verdicts }, null, 1)}\n`);
else say(summaryOf(verdicts));
process.exit(verdicts.some(({ outcome }) => outcome === 'fail') ? 1 : 0);

async function tryNetwork(endpoint: string): Promise<Verdict[]> {
  if (!URL.canParse(endpoint)) wrong(`--network ${endpoint} is no URL`);
  const root = read(values.root ?? wrong('--network needs --root FILE, the pinned root'));
  const ca = values.ca === undefined ? undefined : read(values.ca);
  const context = new NetworkContext({ endpoint, root, ca, apiKey: values['api-key'], seed: values.seed });
  try {
    return await runCases(NETWORK_CASES, context, each);
  } finally {
    await context.close();
  }
}

async function tryAgent(): Promise<Verdict[]> {
  const network = await MinimalNetwork.listen({ model: values.model, port: Number(values.port) });
  const rootFile = join(mkdtempSync(join(tmpdir(), 'conformance-')), 'root.json');
  writeFileSync(rootFile, network.publisher.roots[0] ?? '');
  say('a minimal network is up; start an agent with');
  say(`  endpoint    ${network.endpoint}   (plain HTTP on loopback: there is no CA to give)`);
  say(`  root        ${rootFile}`);
  say('  network     conformance, environment testnet, any owner');
  say(`  model       ${values.model}, a file without weights: an engine that answers without them`);
  try {
    await network.session(Number(values.wait) * 1_000);
    const found = await runCases(AGENT_CASES, network, each);
    for (const problem of network.problems) say(`also: ${problem}`);
    const seen = network.problems.join('; ') || 'none';
    const outcome = network.problems.length === 0 ? 'pass' : 'fail';
    const last: Verdict = { section: '2', title: 'no call of the agent broke a rule', outcome, seen, ms: 0 };
    each(last);
    return [...found, last];
  } catch (error) {
    say(`conformance: ${(error as Error).message}: no agent connected`);
    return [{ section: '3', title: 'an agent connects', outcome: 'fail', seen: (error as Error).message, ms: 0 }];
  } finally {
    await network.close();
  }
}
