import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import type { AdmissionRules } from './admission.ts';
import type { AdmissionPolicy } from './settings.ts';

const zTokens = z.object({
  tokens: z.array(
    z
      .object({
        token: z.string().min(8).optional(),
        sha256: z
          .string()
          .regex(/^[0-9a-f]{64}$/)
          .optional(),
        email: z.string().optional(),
      })
      .refine((t) => (t.token === undefined) !== (t.sha256 === undefined), { message: 'give one of token and sha256' }),
  ),
});

/** Admission rules from the files that the command line names; tokens are kept by their hash. */
export const readAdmission = (
  policy: AdmissionPolicy,
  enrolment?: string,
  allowList?: string,
  hold = false,
): AdmissionRules => {
  const tokens = new Map(
    (enrolment === undefined ? [] : zTokens.parse(JSON.parse(readFileSync(enrolment, 'utf8'))).tokens).map((t) => [
      t.sha256 ?? hashOf(t.token ?? ''),
      { email: t.email },
    ]),
  );
  const allowed = (allowList === undefined ? '' : readFileSync(allowList, 'utf8'))
    .split('\n')
    .map((line) => line.replace(/#.*$/, '').trim().toLowerCase())
    .filter((line) => line !== '');
  return { policy, hold, token: (text) => tokens.get(hashOf(text)), allowed: new Set(allowed) };
};

const hashOf = (text: string): string => createHash('sha256').update(text).digest('hex');
