import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import type { TlsFiles } from '../http.ts';

/** How often the files are read again. A Secret's volume follows its Secret within about a minute. */
export const TLS_CHECK_MS = 60_000;

/** @throws Error when a file cannot be read, or the key is not the certificate's */
export const readTls = (certFile: string, keyFile: string): TlsFiles => {
  const files = { cert: readFileSync(certFile, 'utf8'), key: readFileSync(keyFile, 'utf8') };
  createSecureContext(files);
  return files;
};

/**
 * Gives each new pair of certificate and key to `renew`, until the signal. A pair that does not fit, as in the middle of a
 * change, is logged and tried again at the next look; what was there goes on.
 */
export const followTls = async (
  now: TlsFiles,
  read: () => TlsFiles,
  renew: (files: TlsFiles) => void,
  { clock, log, signal }: { readonly clock: Clock; readonly log: Logger; readonly signal: AbortSignal },
): Promise<void> => {
  let shown = now;
  while (!signal.aborted) {
    await clock.sleep(TLS_CHECK_MS, signal).catch(() => {});
    if (signal.aborted) return;
    try {
      const files = read();
      if (files.cert === shown.cert && files.key === shown.key) continue;
      renew(files);
      shown = files;
      log.info('the certificate was renewed');
    } catch (error) {
      log.warn({ error }, 'the certificate on disk cannot be used: the one before goes on');
    }
  }
};
