/** `3.21 ± 0.12`: mean and sample standard deviation. */
export const meanSd = (all: readonly number[], digits: number): string => {
  const { mean, sd } = spread(all);
  return `${mean.toFixed(digits)} ± ${sd.toFixed(digits)}`;
};

export const spread = (all: readonly number[]): { mean: number; sd: number } => {
  const mean = all.reduce((a, b) => a + b, 0) / all.length;
  const sd = Math.sqrt(all.reduce((a, b) => a + (b - mean) ** 2, 0) / Math.max(1, all.length - 1));
  return { mean, sd };
};

/** The p-quantile by nearest rank; 0 < p ≤ 1. NaN for nothing. */
export const quantile = (all: readonly number[], p: number): number =>
  all.toSorted((a, b) => a - b)[Math.max(0, Math.ceil(p * all.length) - 1)] ?? Number.NaN;
