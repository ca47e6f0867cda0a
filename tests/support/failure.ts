// What a promise is rejected with.

/** It must be rejected. */
export async function failure(promise: PromiseLike<unknown>): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error("this should have failed");
}
