/** Reads the pcap files that QEMU's filter-dump writes: little-endian, microseconds, Ethernet. */

const FILE_HEADER_BYTES = 24;
const RECORD_HEADER_BYTES = 16;
const MAGIC = 0xa1b2c3d4;

/** The frames of a recording in their order. @throws RangeError if it is cut off or no pcap */
export function readFrames(pcap: Buffer): Buffer[] {
  if (pcap.readUInt32LE(0) !== MAGIC) throw new RangeError('This is not a little-endian pcap file.');
  const frames: Buffer[] = [];
  for (let offset = FILE_HEADER_BYTES; offset < pcap.length;) {
    const length = pcap.readUInt32LE(offset + 8);
    const start = offset + RECORD_HEADER_BYTES;
    if (start + length > pcap.length) throw new RangeError('The pcap file is cut off.');
    frames.push(pcap.subarray(start, start + length));
    offset = start + length;
  }
  return frames;
}
