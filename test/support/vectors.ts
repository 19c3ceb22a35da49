import { readFileSync } from 'node:fs';

/** A frozen golden vector file of test/vectors (made with ethers by hack/vectors.ts). */
export const readVectors = <T>(name: string): T =>
  JSON.parse(readFileSync(new URL(`../vectors/${name}.json`, import.meta.url), 'utf8')) as T;
