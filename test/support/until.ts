/** Waits (in real time, politely) until `holds`; throws with `what` when it does not within `ms`. For tests over real sockets. */
export const until = async (what: string, holds: () => boolean | Promise<boolean>, ms = 25_000): Promise<void> => {
  const end = performance.now() + ms;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`did not come about in ${ms} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
};
