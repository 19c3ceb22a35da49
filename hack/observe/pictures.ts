/** The panels that docs/pictures shows: dashboard, title, file. */
export const PICTURES: readonly { readonly board: string; readonly panel: string; readonly file: string }[] = [
  { board: 'resultity-fleet', panel: 'Jobs in flight', file: 'jobs-in-flight' },
  { board: 'resultity-fleet', panel: 'Time to the first token', file: 'first-token' },
  { board: 'resultity-fleet', panel: 'Heartbeat age', file: 'heartbeat-age' },
  { board: 'resultity-network', panel: 'From a job’s arrival to its offer', file: 'dispatch' },
  { board: 'resultity-network', panel: 'Receipts', file: 'receipts' },
  { board: 'resultity-operator', panel: 'Reconciles', file: 'reconciles' },
];
