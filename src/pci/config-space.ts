/** Registers of the PCI configuration space that a driver looks at (PCI Local Bus Specification 3.0, 6.1). */

/** Offsets in the configuration space. */
export const CONFIG_SPACE = {
  VENDOR_ID: 0x00,
  DEVICE_ID: 0x02,
  COMMAND: 0x04,
  STATUS: 0x06,
  REVISION_ID: 0x08,
  BAR0: 0x10,
  SUBSYSTEM_VENDOR_ID: 0x2c,
  SUBSYSTEM_ID: 0x2e,
  CAPABILITIES_POINTER: 0x34,
} as const;

/** Bits of the command register. */
export const COMMAND = { IO: 0x0001, MEMORY: 0x0002, BUS_MASTER: 0x0004, INTX_DISABLE: 0x0400 } as const;

/** Bit of the status register: there is a capability list. */
export const STATUS_CAPABILITY_LIST = 0x0010;

/** Capability ids. */
export const CAPABILITY_ID = { MSI: 0x05, VENDOR_SPECIFIC: 0x09, PCI_EXPRESS: 0x10, MSIX: 0x11 } as const;

/** Where the part that the device may fill in begins: behind the standard header. */
export const HEADER_SIZE = 0x40;
/** Where the part that a capability list may lie in ends; PCI Express puts other things behind it. */
export const CAPABILITY_SPACE_END = 0x100;
