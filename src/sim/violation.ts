/**
 * The driver broke a rule of the specification.
 *
 * Thrown where the device finds it out and caught where the driver called in: a device has no way to throw at
 * its driver, so the sentence is recorded and the device asks to be reset. It never leaves this folder.
 */
export class DriverViolation extends Error {}
