/** A worker that serves 10 000 ConfigMaps of about 4 KB, as pages or as a stream, from texts that were made beforehand. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';

const count = Number(workerData);
/** Many small fields, not one long text: that is what costs to parse and to keep. */
const data = Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`key-${i}`, `value ${i} `.repeat(4)]));
const items = Array.from({ length: count }, (_, i) =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: {
      name: `m-${i}`,
      namespace: `n-${i % 10}`,
      uid: `uid-${i}`,
      resourceVersion: String(i + 1),
      labels: { app: 'bench', index: String(i) },
      managedFields: [{ manager: 'bench', operation: 'Apply', fieldsV1: { 'f:data': data } }],
    },
    data,
  }),
);
const end = JSON.stringify({
  type: 'BOOKMARK',
  object: { metadata: { resourceVersion: String(count), annotations: { 'k8s.io/initial-events-end': 'true' } } },
});

const server = createServer((request, response) => {
  const query = new URL(request.url ?? '/', 'http://list').searchParams;
  response.writeHead(200, { 'content-type': 'application/json' });
  if (query.get('watch') === 'true') {
    if (query.get('sendInitialEvents') !== 'true') return response.flushHeaders();
    response.write(items.map((item) => `{"type":"ADDED","object":${item}}\n`).join(''));
    return void response.write(`${end}\n`);
  }
  const from = Number(query.get('continue') ?? 0);
  const to = from + Number(query.get('limit') ?? count);
  const more = to < count ? { continue: String(to) } : {};
  const metadata = JSON.stringify({ resourceVersion: String(count), ...more });
  response.end(`{"kind":"List","apiVersion":"v1","metadata":${metadata},"items":[${items.slice(from, to).join(',')}]}`);
});
server.listen(0, '127.0.0.1', () =>
  parentPort?.postMessage({ port: (server.address() as AddressInfo).port, bytes: items.join('').length }),
);
