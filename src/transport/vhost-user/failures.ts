/** Telling failures of a backend apart. */
import { VhostUserError } from '../../errors.js';

/** The backend does not do what it was asked; the connection goes on. */
export function isRefusal(error: unknown): boolean {
  return error instanceof VhostUserError && error.code === 'VHOST_USER_REFUSED';
}

/** The backend has closed the connection. */
export function isDisconnect(error: unknown): boolean {
  return error instanceof VhostUserError && error.code === 'VHOST_USER_DISCONNECTED';
}
