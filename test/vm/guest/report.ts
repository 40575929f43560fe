/** How a program in the guest tells the test what it saw: a line of JSON for each thing, with its name. */
export function report(name: string, value: unknown): void {
  console.log(JSON.stringify({ name, value: value ?? null }));
}

/** The code and message of what a promise is rejected with; `null` if it is not. */
export async function failureOf(
  action: Promise<unknown>,
): Promise<{ code: unknown; message: string } | null> {
  return action.then(
    () => null,
    (error: unknown) => ({
      code: (error as { code?: unknown }).code,
      message: error instanceof Error ? error.message : String(error),
    }),
  );
}
