/** Registers of the PCI configuration space that telling devices apart and finding capabilities need (PCI Local Bus Specification 3.0, 6.1). */

/** Offsets in the configuration space, in bytes. */
export const CONFIG_SPACE = {
  DEVICE_ID: 0x02,
  STATUS: 0x06,
  REVISION: 0x08,
  BAR_0: 0x10,
  CAPABILITIES_POINTER: 0x34,
} as const;

/** Bit of the status register: there is a capability list. */
export const STATUS_CAPABILITY_LIST = 0x0010;

/** The capability id whose contents the vendor defines. */
export const VENDOR_SPECIFIC = 0x09;

/** Where the part that the device may fill in begins: behind the standard header. */
export const HEADER_SIZE = 0x40;
/** Where the part that a capability list may lie in ends; PCI Express puts other things behind it. */
export const CAPABILITY_SPACE_END = 0x100;
