/** Failures of the kernel's VFIO, as errors with a code and a remedy. */
import { VfioError } from '../errors.js';
import { ERRNO, describeErrno, errnoOf } from '../native/errno.js';

/** Opens something by running `open`, and says what to do where that fails. */
export function opening<T>(path: string, open: () => T, remedyWhereMissing: string): T {
  try {
    return open();
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === undefined) throw error;
    throw openError(path, errno, error, remedyWhereMissing);
  }
}

function openError(path: string, errno: number, cause: unknown, remedyWhereMissing: string): VfioError {
  const details = { syscall: `open ${path}`, errno, cause };
  switch (errno) {
    case ERRNO.EACCES:
    case ERRNO.EPERM:
      return new VfioError('VFIO_PERMISSION_DENIED', `This user may not open ${path}`, {
        ...details,
        remedy: permissionRemedy(path, process.getuid?.()),
      });
    case ERRNO.EBUSY:
      return new VfioError('VFIO_DEVICE_BUSY', `${path} is open already`, {
        ...details,
        remedy: `Close it there first; fuser -v ${path} names the process.`,
      });
    case ERRNO.ENOENT:
    case ERRNO.ENODEV:
    case ERRNO.ENXIO:
      return new VfioError('VFIO_NOT_AVAILABLE', `${path} could not be opened: ${describeErrno(errno)}`, {
        ...details,
        remedy: remedyWhereMissing,
      });
    default:
      return new VfioError('VFIO_CALL_FAILED', `open of ${path} failed: ${describeErrno(errno)}`, details);
  }
}

const NO_IOMMU_NODE = /\/noiommu-\d+$/;

/** Root is refused by the device rules of a container only, or by a security module. */
export function permissionRemedy(path: string, uid: number | undefined): string {
  if (NO_IOMMU_NODE.test(path)) {
    return `A device without an IOMMU can reach all memory: the kernel wants CAP_SYS_RAWIO for ${path}. Run as root.`;
  }
  if (uid === 0) return `In a container, pass the file in with the right to use it: --device ${path}`;
  return `As root: chown ${uid ?? 'USER'} ${path} (a udev rule makes it last), or run as root.`;
}

/**
 * The value of a VFIO call of the shim.
 *
 * @throws VfioError VFIO_CALL_FAILED where the result is a negated errno
 */
export function vfioCall(call: string, result: number, remedy?: string): number {
  if (result >= 0) return result;
  const errno = -result;
  throw new VfioError('VFIO_CALL_FAILED', `${call} failed: ${describeErrno(errno)}`, {
    syscall: call,
    errno,
    remedy,
  });
}
