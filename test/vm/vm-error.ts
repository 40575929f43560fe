/** What can go wrong with a VM, apart from the command that runs in it. */
export type VmErrorCode =
  /** An option of `runVm` makes no sense. */
  | 'VM_OPTION_INVALID'
  /** A program, a kernel or an architecture that the VM needs is not there. */
  | 'VM_UNAVAILABLE'
  /** The package, the examples or a test program could not be built for the guest. */
  | 'VM_BUILD_FAILED'
  /** QEMU refused its command line or died. */
  | 'VM_QEMU_FAILED'
  /** The guest's set-up failed before the command ran. */
  | 'VM_SETUP_FAILED'
  /** The guest's kernel panicked. */
  | 'VM_KERNEL_PANIC'
  /** The guest switched itself off, or restarted, before the command had ended. */
  | 'VM_GUEST_DIED'
  /** A QMP command was refused, or came after the end of QEMU. */
  | 'VM_QMP_FAILED'
  /** The run was aborted through its signal. */
  | 'VM_ABORTED';

/** The VM itself failed; a command that fails in it is a result and not an error. */
export class VmError extends Error {
  readonly code: VmErrorCode;

  constructor(code: VmErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'VmError';
    this.code = code;
  }
}
