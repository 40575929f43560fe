import type { NetDevice } from 'virtio-net';
import { ARP_OPERATION, buildArpReply, buildArpRequest, readArpFrame, sameAddress } from 'virtio-net/packet';

/** Who is where on the link: asks for one neighbour's MAC address, and answers those who ask for ours. */
export class Neighbour {
  /** MAC address of the neighbour, once it is known. */
  mac: Uint8Array | undefined;
  private readonly device: NetDevice;
  private readonly ip: Uint8Array;
  private readonly ownIp: Uint8Array;

  constructor(device: NetDevice, ip: Uint8Array, ownIp: Uint8Array) {
    this.device = device;
    this.ip = ip;
    this.ownIp = ownIp;
  }

  async ask(): Promise<void> {
    const request = { senderMac: this.device.macBytes, senderIp: this.ownIp, targetIp: this.ip };
    await this.device.send(buildArpRequest(request));
  }

  /** Takes a received frame; says whether it was ARP. */
  receive(frame: Uint8Array): boolean {
    const arp = readArpFrame(frame);
    if (arp === undefined) return false;
    if (sameAddress(arp.senderIp, this.ip)) this.mac = arp.senderMac.slice();
    if (arp.operation === ARP_OPERATION.REQUEST && sameAddress(arp.targetIp, this.ownIp)) {
      const reply = {
        senderMac: this.device.macBytes,
        senderIp: this.ownIp,
        targetMac: arp.senderMac,
        targetIp: arp.senderIp,
      };
      void this.device.send(buildArpReply(reply)).catch(() => undefined);
    }
    return true;
  }
}
