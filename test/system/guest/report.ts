/** How a program in the guest tells the test what it saw: a line of JSON for each thing, with its name. */
export function report(name: string, value: unknown): void {
  console.log(JSON.stringify({ name, value }));
}
