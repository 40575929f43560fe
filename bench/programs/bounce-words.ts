/** The words of the memory in which two workers bounce a cache line, by their index: far enough apart to share none. */
export const WORD = { LINE: 0, READY: 64 } as const;
export const WORDS = 128;
/** How often the line crosses over in one measurement. */
export const BOUNCES = 4000;
