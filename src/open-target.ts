/** Opening the transport that an address names. What each needs is loaded only then. */
import type { Logger } from './log.js';
import { VHOST_USER } from './net/option-conflicts.js';
import type { Settings } from './net/options.js';
import { checkVhostUserOptions } from './net/vhost-user-options.js';
import type { Transport } from './transport/transport.js';

/**
 * @param address - of a PCI device, or `vhost-user:` with the path of a socket
 * @throws VirtioNetError
 */
export async function openTarget(address: string, settings: Settings, log: Logger): Promise<Transport> {
  return address.startsWith(VHOST_USER)
    ? openSocket(address.slice(VHOST_USER.length), settings, log)
    : openCard(address, settings, log);
}

async function openCard(address: string, settings: Settings, log: Logger): Promise<Transport> {
  const { openPciTransport } = await import('./transport/open-pci.js');
  const { takeOver, hugePages, pciInterface, interruptMode, maxVectors, signal } = settings;
  return openPciTransport(address, {
    log,
    takeOver,
    hugePages,
    pciInterface,
    interruptMode,
    maxVectors,
    signal,
  });
}

async function openSocket(path: string, settings: Settings, log: Logger): Promise<Transport> {
  const { openVhostUserTransport } = await import('./transport/vhost-user/open.js');
  const { hugePages, signal, vhostUser = checkVhostUserOptions({}) } = settings;
  return openVhostUserTransport(path, { ...vhostUser, log, hugePages, signal });
}
