import type { Hello } from '../protocol/index.ts';

/**
 * The body with as many of its jobs as fit into `bytes` of JSON, the first ones: running jobs stand before results, and a
 * result that is not named is sent again all the same (docs/protocol.md §3). Pure.
 */
export const fitJobs = <T extends { readonly jobs: Hello['jobs'] }>(body: T, bytes: number): T => {
  let room = bytes - Buffer.byteLength(JSON.stringify({ ...body, jobs: [] }));
  const jobs: Hello['jobs'] = [];
  for (const job of body.jobs) {
    room -= Buffer.byteLength(JSON.stringify(job)) + 1;
    if (room < 0) break;
    jobs.push(job);
  }
  return { ...body, jobs };
};
