/**
 * Every error that the library throws, as data: a stable code, and what to do about it.
 *
 * Programs tell errors apart by `error.code`, which does not change between releases. The message is for
 * people: what failed, then the remedy.
 */

interface CatalogueEntry {
  /** What the code stands for, in a sentence. */
  readonly meaning: string;
  /** What the user can do about it; a throwing place may give a more precise one. */
  readonly remedy: string;
}

const PCI_ERRORS = {
  PCI_ADDRESS_MALFORMED: {
    meaning: 'The text is not a PCI address.',
    remedy: 'Write it as lspci -D does: domain:bus:device.function, for example 0000:00:10.0.',
  },
  PCI_NO_SUCH_DEVICE: {
    meaning: 'There is no PCI device at that address.',
    remedy: 'List what there is with: lspci -D -d 1af4:',
  },
  PCI_NOT_VIRTIO_NET: {
    meaning: 'The device at that address is not a virtio network card that this driver can drive.',
    remedy: 'Choose a device that lspci -D -d 1af4:1041 or lspci -D -d 1af4:1000 lists.',
  },
  PCI_INTERFACE_UP: {
    meaning: 'The kernel is using the card: its network interface is up.',
    remedy: 'Set the interface down first (ip link set dev NAME down), or pass { takeOver: true }.',
  },
  PCI_PERMISSION_DENIED: {
    meaning: 'This user may not write to the sysfs files that bind a device to a driver.',
    remedy: 'Bind the device to vfio-pci as root beforehand, or run as root.',
  },
  PCI_BIND_FAILED: {
    meaning: 'The kernel did not bind the device to the driver that was asked for.',
    remedy: 'Load the driver (modprobe vfio-pci) and read the kernel log (dmesg).',
  },
  PCI_INTERFACE_ABSENT: {
    meaning: 'The device has not the virtio interface, modern or legacy, that it was to be driven through.',
    remedy: "Leave { pciInterface } at 'auto'.",
  },
  PCI_CAPABILITY_INVALID: {
    meaning: 'The virtio capabilities in the PCI configuration space are missing or make no sense.',
    remedy: 'The device or the hypervisor is at fault; report it with the output of lspci -vvv -s ADDRESS.',
  },
} as const satisfies Record<string, CatalogueEntry>;

const VFIO_ERRORS = {
  VFIO_NOT_AVAILABLE: {
    meaning: 'The kernel offers no VFIO: /dev/vfio/vfio is missing or speaks another version.',
    remedy: 'Load the module: modprobe vfio-pci',
  },
  VFIO_IOMMU_ABSENT: {
    meaning: 'The device is in no IOMMU group, so VFIO can not protect the memory of the system from it.',
    remedy:
      'Turn the IOMMU on: intel_iommu=on or amd_iommu=on on the kernel command line; in a VM, give it a vIOMMU.',
  },
  VFIO_GROUP_NOT_VIABLE: {
    meaning: 'Another device of the same IOMMU group is held by a kernel driver.',
    remedy: 'Bind every device of the group to vfio-pci, or unbind it from its driver.',
  },
  VFIO_PERMISSION_DENIED: {
    meaning: 'This user may not open the VFIO device files.',
    remedy: 'Give the user the group file (chown USER /dev/vfio/GROUP), or run as root.',
  },
  VFIO_DEVICE_BUSY: {
    meaning: 'Another program, or another part of this one, has the device open.',
    remedy: 'Close it there first; fuser -v /dev/vfio/GROUP names the process.',
  },
  VFIO_MEMLOCK_TOO_LOW: {
    meaning: 'The limit on locked memory (RLIMIT_MEMLOCK) is too low for the memory that the device needs.',
    remedy: 'Raise it: ulimit -l KIB, LimitMEMLOCK= in a systemd unit, or memlock in limits.conf.',
  },
  VFIO_CALL_FAILED: {
    meaning: 'A VFIO call failed in a way that has no code of its own.',
    remedy: 'See the failing call and errno in the message, and the kernel log (dmesg).',
  },
} as const satisfies Record<string, CatalogueEntry>;

const VHOST_USER_ERRORS = {
  VHOST_USER_SOCKET_FAILED: {
    meaning: 'The UNIX socket of a vhost-user backend can not be reached, or can not be made.',
    remedy:
      'Check the path, that the backend is running, and that this user may use the socket (in a container, that it is ' +
      'mounted).',
  },
  VHOST_USER_DISCONNECTED: {
    meaning: 'The vhost-user backend has closed its connection, or is not connected now.',
    remedy:
      'See why the backend ended. The device goes on when it is back, unless { reconnect: false } was given.',
  },
  VHOST_USER_TIMEOUT: {
    meaning: 'The vhost-user backend did not answer in time; the connection was closed.',
    remedy: 'Raise { vhostUser: { timeout } }, or see what keeps the backend busy.',
  },
  VHOST_USER_REFUSED: {
    meaning: 'The vhost-user backend refused a request.',
    remedy: 'See the log of the backend for its reason.',
  },
  VHOST_USER_MESSAGE_INVALID: {
    meaning: 'The vhost-user backend sent what is no answer to what it was asked; the connection was closed.',
    remedy: 'The backend is at fault, or something else listens at that path.',
  },
} as const satisfies Record<string, CatalogueEntry>;

const NATIVE_ERRORS = {
  NATIVE_UNSUPPORTED_PLATFORM: {
    meaning: 'Driving a card needs Linux on x64 or arm64.',
    remedy: 'Elsewhere, use the software device: import { createSimulatedDevice } from "virtio-net/sim".',
  },
  NATIVE_SHIM_MISSING: {
    meaning: 'The native shim, a small C library, was not found.',
    remedy: 'Build it with: node native-shim/build.mjs (in the folder of the package).',
  },
  NATIVE_SHIM_ABI: {
    meaning: 'The native shim that was loaded belongs to another version of the package.',
    remedy: 'Build it again with: node native-shim/build.mjs, and check VIRTIO_NET_SHIM.',
  },
  NATIVE_CALL_FAILED: {
    meaning: 'A system call failed in a way that has no code of its own.',
    remedy: 'See the failing call and errno in the message.',
  },
} as const satisfies Record<string, CatalogueEntry>;

const DEVICE_ERRORS = {
  DEVICE_FEATURE_MISSING: {
    meaning: 'The device does not offer a feature that is required.',
    remedy: 'Enable the feature on the device, or take it out of the required list.',
  },
  DEVICE_FEATURES_REFUSED: {
    meaning: 'The device did not accept the set of features that the driver chose from its offer.',
    remedy: 'Ask for fewer features with { features: { unwanted: [...] } }.',
  },
  DEVICE_BYPASSES_IOMMU: {
    meaning:
      'Without VIRTIO_F_ACCESS_PLATFORM the device reads memory around the IOMMU, whose addresses it was to be given.',
    remedy:
      'Give the device the property iommu_platform=on (libvirt: <driver iommu="on"/>), or take out ' +
      '{ addressing: "iova" }.',
  },
  DEVICE_RESET_TIMEOUT: {
    meaning: 'The device did not finish its reset in time: its status did not read back as 0.',
    remedy: 'Raise { resetTimeout }, or reset the device from the hypervisor.',
  },
  DEVICE_NEEDS_RESET: {
    meaning: 'The device has met an error and asks to be reset.',
    remedy:
      'Call reset(), or open the device with { recovery: "automatic" }: it comes back with its settings.',
  },
  DEVICE_REMOVED: {
    meaning: 'The device has gone: it was unplugged, or its registers no longer answer.',
    remedy: 'An open device that goes is closed by the driver; open it again when it is back.',
  },
  DEVICE_WAS_RESET: {
    meaning: 'The device was reset, and what it had been given before is lost.',
    remedy: 'Send again what must not be lost.',
  },
  RECOVERY_GIVEN_UP: {
    meaning: 'The device keeps failing however often it is reset.',
    remedy: 'The device or the hypervisor is at fault; see the cause. reset() tries once more.',
  },
  DEVICE_QUEUE_RESET_TIMEOUT: {
    meaning: 'The device did not finish the reset of one of its queues in time.',
    remedy: 'Call reset() to reset the whole device.',
  },
  DEVICE_QUEUE_UNAVAILABLE: {
    meaning: 'The device does not have a queue that the driver needs, or not of a usable size.',
    remedy: 'Check the number and size of the queues that the device is configured with.',
  },
  QUEUE_PAIRS_TOO_FEW: {
    meaning: 'The device has fewer queue pairs than were asked for.',
    remedy: 'Ask for fewer { queuePairs }, or give the device more (QEMU: queues= of the netdev, mq=on).',
  },
  DEVICE_VECTOR_REFUSED: {
    meaning:
      'The device has no interrupts of the kind that was asked for, or could not map its events to vectors.',
    remedy: 'Open the device with { interrupts: false } and poll it.',
  },
  DEVICE_CONFIG_UNSTABLE: {
    meaning: 'The configuration space of the device kept changing while it was read.',
    remedy: 'Try again; if it stays so, the device is at fault.',
  },
  DEVICE_CONFIG_INVALID: {
    meaning: 'The configuration space of the device holds a value that makes no sense.',
    remedy: 'The device or the hypervisor is at fault.',
  },
  CONTROL_COMMAND_REFUSED: {
    meaning: 'The device refused a command of the control queue.',
    remedy: 'Ask for less, or check how the hypervisor has configured the device.',
  },
  CONTROL_TIMEOUT: {
    meaning: 'The device did not answer a command of the control queue in time.',
    remedy: 'Raise { controlTimeout }, or reset the device: until then it takes no further command.',
  },
  CONTROL_ANSWER_INVALID: {
    meaning: 'The device answered a command of the control queue with something that makes no sense.',
    remedy: 'The device or the hypervisor is at fault.',
  },
} as const satisfies Record<string, CatalogueEntry>;

const QUEUE_ERRORS = {
  QUEUE_BROKEN: {
    meaning: 'The device wrote something into a used ring that can not be; the queue was taken out of use.',
    remedy: 'Call reset(). If it happens again, the device is at fault.',
  },
  QUEUE_CHAIN_INVALID: {
    meaning: 'A descriptor chain is empty, or longer than the queue allows.',
    remedy: 'Use fewer and larger buffers, or a larger queue.',
  },
} as const satisfies Record<string, CatalogueEntry>;

const MEMORY_ERRORS = {
  MEMORY_EXHAUSTED: {
    meaning: 'The system has no memory for what was asked.',
    remedy: 'Ask for fewer or smaller buffers ({ poolSize, queueSize }).',
  },
  IOVA_EXHAUSTED: {
    meaning: 'There is no free range of device addresses left below 4 GiB.',
    remedy: 'Ask for fewer or smaller buffers ({ poolSize, queueSize }).',
  },
  MEMORY_NOT_CONTIGUOUS: {
    meaning: 'Something needs consecutive physical addresses, and the system has no such stretch of memory.',
    remedy:
      'Reserve huge pages, as root: echo 64 > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages, or ask for ' +
      'smaller rings ({ queueSize }: 256 fits into pages).',
  },
  MEMORY_NOT_PINNED: {
    meaning:
      'The kernel could not be made to keep the memory where it is, as a device without an IOMMU needs it.',
    remedy:
      'Let the program use io_uring (sysctl kernel.io_uring_disabled=0; a container may forbid it too), or reserve ' +
      'huge pages, as root: echo 64 > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages',
  },
  MEMORY_ADDRESS_UNKNOWN: {
    meaning:
      'The kernel does not tell where memory lies, which a device that reads around an IOMMU has to be told.',
    remedy: 'Give the program CAP_SYS_ADMIN (run it as root), or the device an IOMMU (iommu_platform=on).',
  },
  HUGE_PAGES_MISSING: {
    meaning: 'The system has not enough free huge pages of the size that was asked for.',
    remedy:
      'Reserve some, as root: echo 64 > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages, or open the device ' +
      'with { hugePages: "auto" }.',
  },
} as const satisfies Record<string, CatalogueEntry>;

const USAGE_ERRORS = {
  OPTION_INVALID: {
    meaning: 'An option has a value that can not be.',
    remedy: 'See the documentation of the option.',
  },
  DEVICE_CLOSED: {
    meaning: 'The device was used after close().',
    remedy: 'Open it again with NetDevice.open().',
  },
  DEVICE_ALREADY_CLOSED: {
    meaning: 'close() was called on a device that is closed.',
    remedy: 'Close a device once, or use `await using`, which does not mind.',
  },
  DEVICE_NOT_STARTED: {
    meaning: 'The call needs a device that is started.',
    remedy: 'Call start() first.',
  },
  DEVICE_ALREADY_STARTED: {
    meaning: 'start() was called on a device that is started.',
    remedy: 'Call stop() first.',
  },
  FEATURE_NOT_NEGOTIATED: {
    meaning: 'The call needs a feature that the device does not offer, or that the program did not ask for.',
    remedy: 'See device.features; an optional feature has to be asked for: { features: { extra: [...] } }.',
  },
  QUEUE_PAIR_UNUSED: {
    meaning: 'The queue pair is open, but the device was told to use fewer pairs.',
    remedy: 'Use more with setQueuePairs(), or copy the frame into a packet of a pair that is in use.',
  },
  QUEUE_PAIR_SHARED: {
    meaning: 'The queue pair is lent to a worker thread, or the handle was attached already.',
    remedy:
      'Use it in that thread; it comes back when its worker closes it or ends, and the device is stopped.',
  },
  SHARING_UNSUPPORTED: {
    meaning: 'The transport of the device can not be used from other threads.',
    remedy: 'Use the modern PCI interface ({ pciInterface: "modern" }), or the software device.',
  },
  FRAME_TOO_SHORT: {
    meaning: 'The frame is shorter than an Ethernet header.',
    remedy: 'Send at least 14 bytes: destination, source and type.',
  },
  FRAME_TOO_LONG: {
    meaning: 'The frame is longer than the MTU of the device allows.',
    remedy: 'Send at most mtu + 14 bytes (mtu + 18 with a VLAN tag).',
  },
  ADDRESS_MALFORMED: {
    meaning: 'The text is not an address of the kind that was expected.',
    remedy: 'Write a MAC address as 52:54:00:12:34:56 and an IPv4 address as 10.0.2.15.',
  },
  PACKET_NO_ROOM: {
    meaning: 'A header or packet does not fit between the given offset and the end of the array.',
    remedy: 'Write into a larger array, or at a smaller offset.',
  },
  PACKET_FIELD_INVALID: {
    meaning: 'A field of a packet has a value that its place on the wire can not hold.',
    remedy: 'See the documentation of the field for its range.',
  },
  POOL_EXHAUSTED: {
    meaning: 'All packet buffers are in use.',
    remedy: 'Release packets when you are done with them, or open the device with a larger { poolSize }.',
  },
  PACKET_NOT_OWNED: {
    meaning: 'The packet buffer is not the caller’s: it was released, transmitted, or is shared.',
    remedy: 'Use a packet only between receiving or allocating it and releasing or transmitting it.',
  },
  OFFLOAD_NOT_NEGOTIATED: {
    meaning: 'The packet asks for an offload that was not negotiated with the device.',
    remedy: 'Do that part of the work in software, or use a device that offers the feature.',
  },
  OFFLOAD_INVALID: {
    meaning: 'What the packet asks the device to do contradicts itself or the frame.',
    remedy: 'Use requestOffload(packet), which derives it all from the frame.',
  },
  PACKET_CHAIN_INVALID: {
    meaning: 'The packet buffers can not be segments of one frame.',
    remedy: 'Link buffers of the same queue pair, each once, and no more than the ring has descriptors.',
  },
} as const satisfies Record<string, CatalogueEntry>;

/** Every error code with its meaning and its remedy. */
export const ERROR_CATALOGUE = {
  ...PCI_ERRORS,
  ...VFIO_ERRORS,
  ...VHOST_USER_ERRORS,
  ...NATIVE_ERRORS,
  ...DEVICE_ERRORS,
  ...QUEUE_ERRORS,
  ...MEMORY_ERRORS,
  ...USAGE_ERRORS,
} as const;

export type PciErrorCode = keyof typeof PCI_ERRORS;
export type VfioErrorCode = keyof typeof VFIO_ERRORS;
export type VhostUserErrorCode = keyof typeof VHOST_USER_ERRORS;
export type NativeErrorCode = keyof typeof NATIVE_ERRORS;
export type DeviceErrorCode = keyof typeof DEVICE_ERRORS;
export type QueueErrorCode = keyof typeof QUEUE_ERRORS;
export type MemoryErrorCode = keyof typeof MEMORY_ERRORS;
export type UsageErrorCode = keyof typeof USAGE_ERRORS;
/** Every code that `error.code` can hold. */
export type ErrorCode = keyof typeof ERROR_CATALOGUE;

/** What may accompany an error beyond its code and message. */
export interface ErrorDetails {
  /** A more precise remedy than the one of the catalogue. */
  readonly remedy?: string | undefined;
  /** The call that failed, for example `VFIO_IOMMU_MAP_DMA` or `open /dev/vfio/7`. */
  readonly syscall?: string | undefined;
  /** The positive errno of that call, for example 12 for ENOMEM. */
  readonly errno?: number | undefined;
  readonly cause?: unknown;
}

/** The base of all errors of this library. */
export abstract class VirtioNetError extends Error {
  /** Stable name of what went wrong; see `ERROR_CATALOGUE`. */
  readonly code: ErrorCode;
  /** What to do about it. */
  readonly remedy: string;
  /** The call that failed, where there was one. */
  readonly syscall: string | undefined;
  /** The positive errno of that call, where there was one. */
  readonly errno: number | undefined;

  protected constructor(code: ErrorCode, what: string, details: ErrorDetails = {}) {
    const remedy = details.remedy ?? ERROR_CATALOGUE[code].remedy;
    super(`${what}. ${remedy}`, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = new.target.name;
    this.code = code;
    this.remedy = remedy;
    this.syscall = details.syscall;
    this.errno = details.errno;
  }
}

/** The PCI device could not be found, identified or bound to a driver. */
export class PciError extends VirtioNetError {
  declare readonly code: PciErrorCode;

  constructor(code: PciErrorCode, what: string, details?: ErrorDetails) {
    super(code, what, details);
  }
}

/** The kernel's VFIO refused something. */
export class VfioError extends VirtioNetError {
  declare readonly code: VfioErrorCode;

  constructor(code: VfioErrorCode, what: string, details?: ErrorDetails) {
    super(code, what, details);
  }
}

/** The backend of a vhost-user device failed, or its socket. */
export class VhostUserError extends VirtioNetError {
  declare readonly code: VhostUserErrorCode;

  constructor(code: VhostUserErrorCode, what: string, details?: ErrorDetails) {
    super(code, what, details);
  }
}

/** The C library below, or a plain system call, failed. */
export class NativeError extends VirtioNetError {
  declare readonly code: NativeErrorCode;

  constructor(code: NativeErrorCode, what: string, details?: ErrorDetails) {
    super(code, what, details);
  }
}

/** The device did not do what the specification asks of it, or lacks what is needed. */
export class DeviceError extends VirtioNetError {
  declare readonly code: DeviceErrorCode;

  constructor(code: DeviceErrorCode, what: string, details?: ErrorDetails) {
    super(code, what, details);
  }
}

/** A virtqueue was misused, by the device or by the caller. */
export class QueueError extends VirtioNetError {
  declare readonly code: QueueErrorCode;

  constructor(code: QueueErrorCode, what: string, details?: ErrorDetails) {
    super(code, what, details);
  }
}

/** There was no memory, or no address to give it. */
export class MemoryError extends VirtioNetError {
  declare readonly code: MemoryErrorCode;

  constructor(code: MemoryErrorCode, what: string, details?: ErrorDetails) {
    super(code, what, details);
  }
}

/** The library was called in a way that can not work. */
export class UsageError extends VirtioNetError {
  declare readonly code: UsageErrorCode;

  constructor(code: UsageErrorCode, what: string, details?: ErrorDetails) {
    super(code, what, details);
  }
}
