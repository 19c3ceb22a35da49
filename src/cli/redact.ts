/** Fields whose values are secret or personal wherever they stand. */
const SECRET_FIELD =
  /(pass(word|phrase)?|secret|token|authorization|api[-_]?key|private[-_]?key|credential|cookie|email)$/i;
/** Those that only name where a secret lies. */
const REFERENCE = /(Ref|Refs|Name|Secrets)$/;
/** Annotations that repeat the whole object. */
const REPEATING = 'kubectl.kubernetes.io/last-applied-configuration';

const PATTERNS: readonly (readonly [RegExp, string])[] = [
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?-----END [A-Z ]*PRIVATE KEY-----/g, '[private key]'],
  // A bare 32-byte hex value may be a key; digests are written sha256:… and stay, addresses are shorter, signatures longer.
  [/(?<![0-9a-fA-F:x-])(0x)?[0-9a-fA-F]{64}(?![0-9a-fA-F])/g, '[32 bytes]'],
  [/\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*/g, '[token]'],
  [/\b(bearer|basic)\s+[\w.~+/=-]{6,}/gi, '$1 [credential]'],
  [/\b(rk|sk|hf|ghp|gho|github_pat|glpat|xox[bp])[-_][\w-]{8,}/g, '[api key]'],
  [/\b(AKIA|ASIA)[A-Z0-9]{16}\b/g, '[access key]'],
  [/([a-z][a-z0-9+.-]*:\/\/)[^/\s@:"']+:[^/\s@"']+@/gi, '$1[credential]@'],
  [/[\w.+-]+@[\w-]+(\.[\w-]+)+/g, '[email]'],
  [/((?:pass(?:word|phrase)?|secret|token|api[-_]?key)["']?\s*[=:]\s*["']?)[^\s"',}[\]]+/gi, '$1[secret]'],
];

/** A text without what looks like a key, a token, a password or an email address. */
export const redactText = (text: string): string => PATTERNS.reduce((t, [pattern, by]) => t.replace(pattern, by), text);

/** An object for a support bundle: secret fields, values of environment variables and repeating annotations are gone. Pure. */
export const redact = (value: unknown, field = ''): unknown => {
  if (typeof value === 'string')
    return SECRET_FIELD.test(field) && !REFERENCE.test(field) ? '[secret]' : redactJson(value);
  if (Array.isArray(value)) return value.map((v) => (field === 'env' ? redactEnv(v) : redact(v)));
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([key]) => key !== REPEATING && key !== 'managedFields');
  return Object.fromEntries(entries.map(([key, v]) => [key, redact(v, key)]));
};

/** A string may itself be JSON, as the agent's settings are. */
const redactJson = (text: string): string => {
  if (!/^\s*[{[]/.test(text)) return redactText(text);
  try {
    return JSON.stringify(redact(JSON.parse(text)));
  } catch {
    return redactText(text);
  }
};

/** The settings of the agent tell much and hold no key; every other value may. */
const redactEnv = (variable: unknown): unknown => {
  const { name, value, ...rest } = (variable ?? {}) as { name?: string; value?: string };
  if (value === undefined) return { name, ...(redact(rest) as object) };
  return { name, value: name === 'RESULTITY_AGENT' ? redactJson(value) : '[value]' };
};
