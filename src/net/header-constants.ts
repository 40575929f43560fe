/**
 * Lengths around a frame. Plain numbers in a file of their own: the bundler puts those in the place of their names, and of
 * no others.
 */

/** Bit of `gso_type` beside the type. */
export const GSO_ECN = 0x80;

/** Length in bytes of the header with VIRTIO_F_VERSION_1 and no hash report. */
export const NET_HEADER_SIZE = 12;
export const LEGACY_HEADER_SIZE = 10;
export const HASH_HEADER_SIZE = 20;

/** Length in bytes of an Ethernet header: destination, source, type. */
export const ETHERNET_HEADER_SIZE = 14;
/** What an IEEE 802.1Q tag adds. */
export const VLAN_TAG_SIZE = 4;
