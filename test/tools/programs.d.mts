/** The folders in which programs are looked for. */
export const SEARCH_PATH: readonly string[];
/** Where a program is, or undefined. */
export function findProgram(name: string): string | undefined;
/** The programs that the test VM needs, each with the package of Debian that has it. */
export const VM_PROGRAMS: Readonly<Record<string, string>>;
