import { createReadStream, readdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { createInterface } from 'node:readline';

interface AuditLine {
  readonly verb: string;
  readonly userAgent?: string;
  readonly objectRef?: { readonly resource?: string; readonly subresource?: string };
  readonly requestURI: string;
  readonly requestReceivedTimestamp: string;
  readonly responseStatus?: { readonly code?: number };
}

const WRITES = new Set(['create', 'update', 'patch', 'delete', 'deletecollection']);

/**
 * The API server's own count of requests within a time, out of its audit log (kept to 300 MB): by program, then by what it
 * did. `writes` only: nothing that reads.
 */
export const requestsOf = async (
  auditLog: string,
  from: number,
  to: number,
): Promise<Map<string, Map<string, number>>> => {
  const counts = new Map<string, Map<string, number>>();
  const stem = basename(auditLog).replace(/\.jsonl$/, '');
  for (const file of readdirSync(dirname(auditLog)).filter((f) => f.startsWith(stem))) {
    const lines = createInterface({ input: createReadStream(join(dirname(auditLog), file)) });
    for await (const line of lines) {
      let event: AuditLine;
      try {
        event = JSON.parse(line) as AuditLine;
      } catch {
        continue; // the last line may be half written
      }
      const at = Date.parse(event.requestReceivedTimestamp);
      if (at < from || at > to || !WRITES.has(event.verb)) continue;
      const program = (event.userAgent ?? '?').split(/[ /]/)[0] ?? '?';
      const { resource = '?', subresource } = event.objectRef ?? {};
      const code = event.responseStatus?.code ?? 0;
      const what = [
        event.verb,
        subresource === undefined ? resource : `${resource}/${subresource}`,
        ...(event.requestURI.includes('dryRun=') ? ['(dry run)'] : []),
        ...(code >= 400 ? [String(code)] : []),
      ].join(' ');
      const of = counts.get(program) ?? new Map<string, number>();
      counts.set(program, of);
      of.set(what, (of.get(what) ?? 0) + 1);
    }
  }
  return counts;
};
