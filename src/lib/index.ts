/**
 * lib: what every room uses and what uses none of ours.
 *
 * Reading order: errors (coded errors), clock (time as a port), backoff, secret (redaction by type), log, metrics,
 * observe (the small HTTP server for /metrics and health), fs (durable writes).
 */
export * from './backoff.ts';
export * from './clock.ts';
export * from './errors.ts';
export * from './fs.ts';
export * from './log.ts';
export * from './metrics.ts';
export * from './observe.ts';
export * from './secret.ts';
