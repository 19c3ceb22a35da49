import { request } from 'undici';
import { WebSocket } from 'ws';
import {
  AUTH_HEADER,
  type Domain,
  FrameWriter,
  type JobOffer,
  newNonce,
  type Signer,
  SUBPROTOCOL,
  sessionId,
  sha256Hex,
  signCall,
  signStruct,
} from '../../src/protocol/index.ts';
import { FakeNode } from '../../test/support/fake-node.ts';
import type { Started } from './service.ts';

const OUTPUT = JSON.stringify({
  choices: [{ index: 0, message: { role: 'assistant', content: 'Paris' }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 7, completion_tokens: 2 },
});

/**
 * An agent cut down to what the service sees of it: it signs everything as the protocol demands, answers each offer at once
 * with the same result, and spares itself the verification of what it receives.
 */
export class LightNode {
  readonly #started: Started;
  readonly #domain: Domain;
  readonly #signer: Signer;
  #ws: WebSocket | undefined;
  #writer: FrameWriter | undefined;
  receipts = 0;

  constructor(started: Started, domain: Domain, signer: Signer) {
    this.#started = started;
    this.#domain = domain;
    this.#signer = signer;
  }

  async register(): Promise<void> {
    const { url } = this.#started;
    const body = JSON.stringify({
      node: this.#signer.address,
      owner: { email: 'ops@example.com' },
      metadata: { agent: '0.1.0', runtime: '0.32.0', hardware: {}, labels: {} },
    });
    const call = { method: 'POST', authority: new URL(url).host, path: '/v1/register', body } as const;
    const header = signCall(this.#domain, this.#signer, call, Date.now(), newNonce());
    const answer = await request(`${url}/v1/register`, { method: 'POST', body, headers: { [AUTH_HEADER]: header } });
    const text = await answer.body.text();
    if (answer.statusCode !== 200) throw new Error(`register answered ${answer.statusCode}: ${text.slice(0, 200)}`);
  }

  /** Resolves with welcome; the first heartbeat is out then. */
  connect(): Promise<void> {
    const { url, network } = this.#started;
    const fake = new FakeNode({ url, domain: this.#domain, signer: this.#signer, network });
    const ws = new WebSocket(`${url.replace(/^http/, 'ws')}/v1/nodes/connect`, SUBPROTOCOL, {
      perMessageDeflate: false,
    });
    this.#ws = ws;
    const writer = new FrameWriter('node', this.#domain, this.#signer);
    this.#writer = writer;
    return new Promise((resolve, reject) => {
      ws.on('error', reject);
      ws.on('close', (code, reason) => reject(new Error(`closed ${code} ${reason}`)));
      ws.on('message', (data) => {
        const text = data.toString();
        const cut = text.indexOf('\n');
        const { t } = JSON.parse(text.slice(0, cut)) as { t: string };
        const payload = text.slice(cut + 1);
        if (t === 'challenge') {
          const { serverNonce } = JSON.parse(payload) as { serverNonce: `0x${string}` };
          const nonce = newNonce();
          const node = this.#signer.address;
          writer.rekey({ sid: sessionId(serverNonce, nonce, node), node });
          this.#send('hello', fake.hello(nonce));
        } else if (t === 'welcome') {
          this.beat();
          resolve();
        } else if (t === 'job.offer') this.#work(JSON.parse(payload) as JobOffer, payload, fake);
        else if (t === 'job.receipt') this.receipts++;
      });
    });
  }
  beat(): void {
    if (this.#ws && this.#writer) this.#ws.send(this.#writer.write('heartbeat', this.#started.heartbeat, Date.now()));
  }
  close(): void {
    this.#ws?.removeAllListeners();
    this.#ws?.on('error', () => {});
    this.#ws?.terminate();
  }

  #work(offer: JobOffer, payload: string, fake: FakeNode): void {
    this.#send('job.accept', { jobId: offer.jobId, attempt: offer.attempt });
    const { result } = fake.result(offer, payload, OUTPUT, { requestHash: sha256Hex(payload), completionTokens: 2 });
    this.#send('job.result', {
      result,
      sig: signStruct(this.#signer, this.#domain, 'JobResult', result),
      output: OUTPUT,
    });
  }
  #send(t: string, payload: object): void {
    if (this.#ws && this.#writer) this.#ws.send(this.#writer.write(t, JSON.stringify(payload), Date.now()));
  }
}
