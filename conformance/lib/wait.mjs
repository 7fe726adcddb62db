// Waiting with a deadline. Nothing in the suite sleeps for a fixed time and hopes.

export const DEADLINE = 25_000;

// within settles as promise does, or rejects when it takes longer than ms.
export function within(promise, what, ms = DEADLINE) {
  let timer;
  const deadline = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`timed out after ${ms} ms waiting for ${what}`)), ms).unref();
  });
  return Promise.race([promise, deadline]).finally(() => clearTimeout(timer));
}

// until polls check until it returns something truthy, and returns that.
export async function until(check, what, ms = DEADLINE) {
  const end = Date.now() + ms;
  for (;;) {
    const got = await check();
    if (got) return got;
    if (Date.now() > end) throw new Error(`timed out after ${ms} ms waiting for ${what}`);
    await pause(5);
  }
}

// once resolves with the arguments of the emitter's next event.
export function once(emitter, event, ms = DEADLINE) {
  return within(new Promise((resolve) => emitter.once(event, (...args) => resolve(args))), `event ${event}`, ms);
}

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
