/**
 * What the processor promises of the order in which memory is read.
 */

/** As far as it is needed here: a browser has none. */
interface Platform {
  readonly process?: { readonly arch?: string };
}

/**
 * Whether plain loads stay in the order of the program. On x86 they do, and V8 does not move them across a branch that
 * depends on an earlier one: the flags of a packed descriptor can be read like anything else, and what follows them was
 * written before them. Elsewhere that takes an acquiring load, which costs ten times as much, and only a packed ring has
 * to pay for it with every descriptor: a split ring has one index for a whole burst.
 */
export const LOADS_STAY_IN_ORDER = /^(x64|ia32)$/.test((globalThis as Platform).process?.arch ?? '');
