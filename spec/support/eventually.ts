/** Waits until `check` passes (returns something other than false and does not throw), looking every few milliseconds. */
export async function eventually<T>(check: () => Promise<T> | T, withinMs = 10_000): Promise<T> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    let failure: unknown = new Error('the condition did not become true in time');
    try {
      const answer = await check();
      if (answer !== false) return answer;
    } catch (error) {
      failure = error;
    }
    if (performance.now() > deadline) throw failure;
    await new Promise(resolve => setTimeout(resolve, 5));
  }
}
