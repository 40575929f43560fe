/**
 * Codecs for the packets on the wire: plain functions on `Uint8Array` that run anywhere.
 *
 * `writeX(target, offset, fields)` gives the bytes written and throws where they do not fit. `readX(bytes,
 * offset, end)` gives the fields, or undefined for bytes that are cut short or malformed: it never throws on
 * what was received and never reads beyond `end`. Addresses that were read are views, not copies.
 *
 * @packageDocumentation
 */
export * from './address.js';
export * from './arp.js';
export * from './checksum.js';
export * from './ethernet.js';
export * from './frame.js';
export * from './icmp.js';
export * from './ipv4.js';
