/** A piece of work that is repeated; the report gives mean ± sd of its rate over several runs. */
export interface Bench {
  readonly name: string;
  readonly unit: string;
  /** Does the work `count` times. */
  run(count: number): void | Promise<void>;
  readonly count: number;
  /** Name of the bench that this one is the yardstick of: the report gives the ratio. */
  readonly baselineOf?: string;
}

/** What is no rate: latencies, memory, start. The report prints the lines as they are. */
export interface Figures {
  readonly name: string;
  /** Takes minutes or needs more than npm packages: left out unless `--only` asks for it. */
  readonly onlyByName?: true;
  figures(): Promise<readonly string[]>;
}
