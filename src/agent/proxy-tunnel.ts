import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { isIP, type Socket } from 'node:net';
import { rootCertificates, connect as tlsConnect } from 'node:tls';
import { CodedError, errorText } from '../lib/errors.ts';

/** Where a connection is to lead, as `http.request` asks for it. */
export interface TunnelTarget {
  readonly host: string;
  readonly port: number;
  /** TLS to the target inside the tunnel, against these authorities. */
  readonly tls?: { readonly ca?: string | undefined };
}

const TIMEOUT_MS = 10_000;

/**
 * A connection to the target through an HTTP proxy (CONNECT, RFC 9110 §9.3.6); user and password may stand in the proxy's
 * URL. A proxy over https is trusted by the public authorities and by `ca`. `ws` knows no proxies, and undici's ProxyAgent
 * carries no socket that ws could take. @throws CodedError `proxy_failed`, which names the proxy and never its password
 */
export const openTunnel = (proxyUrl: string, { host, port, tls }: TunnelTarget, ca?: string): Promise<Socket> => {
  const proxy = new URL(proxyUrl);
  const authority = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  const failed = (why: string, cause?: unknown): CodedError =>
    new CodedError('proxy_failed', `proxy ${proxy.protocol}//${proxy.host}, CONNECT ${authority}: ${why}`, { cause });
  const user = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
  const secure = proxy.protocol === 'https:';
  return new Promise((resolve, reject) => {
    const call = (secure ? httpsRequest : httpRequest)({
      method: 'CONNECT',
      host: proxy.hostname.replace(/^\[|\]$/g, ''),
      port: proxy.port || (secure ? 443 : 80),
      path: authority,
      agent: false,
      timeout: TIMEOUT_MS,
      headers: {
        host: authority,
        ...(user === ':' ? {} : { 'proxy-authorization': `Basic ${Buffer.from(user).toString('base64')}` }),
      },
      ...(secure && ca !== undefined ? { ca: [...rootCertificates, ca] } : {}),
    });
    call.once('timeout', () => call.destroy(new Error(`no answer within ${TIMEOUT_MS / 1_000} s`)));
    call.once('error', (error) => reject(failed(errorText(error), error)));
    call.once('response', (answer) => {
      answer.destroy();
      reject(failed(`it answered ${answer.statusCode} ${answer.statusMessage}`));
    });
    call.once('connect', (answer, socket, head) => {
      if (answer.statusCode !== 200) {
        socket.destroy();
        return reject(failed(`it answered ${answer.statusCode} ${answer.statusMessage}`));
      }
      socket.setTimeout(0);
      if (head.length > 0) socket.unshift(head);
      if (!tls) return resolve(socket as Socket);
      const inner = tlsConnect({ socket, ca: tls.ca, servername: isIP(host) ? '' : host });
      inner.once('error', (error) => reject(failed(errorText(error), error)));
      inner.setTimeout(TIMEOUT_MS, () => inner.destroy(new Error(`no TLS within ${TIMEOUT_MS / 1_000} s`)));
      inner.once('secureConnect', () => resolve(inner.setTimeout(0)));
    });
    call.end();
  });
};
