/** How a legacy driver has to cut its buffers (VIRTIO 1.3, 5.1.6.6: Legacy Interface: Framing Requirements). */
import type { Segment } from '../chain.js';
import { DriverViolation } from '../violation.js';

/** @throws DriverViolation if the header of a packet is not in a descriptor of its own */
export function checkHeaderFraming(buffer: string, segments: readonly Segment[], headerLength: number): void {
  const first = segments.at(0)?.length ?? 0;
  if (first === headerLength) return;
  throw new DriverViolation(
    `the first descriptor of ${buffer} has ${first} bytes: without VIRTIO_F_ANY_LAYOUT it must be the header, ${headerLength}`,
  );
}

/** The lengths that the device-readable descriptors of a command must have; it throws where they are others. */
export function checkCommandFraming(
  name: string,
  readable: readonly Segment[],
  writable: readonly Segment[],
  dataLengths: readonly number[],
): void {
  const expected = [2, ...dataLengths.filter((length) => length > 0)];
  const lengths = readable.map(({ length }) => length);
  const sound = lengths.length === expected.length && lengths.every((length, at) => length === expected[at]);
  if (sound && writable.length === 1 && writable[0].length === 1) return;
  throw new DriverViolation(
    `${name} lies in descriptors of ${[...lengths, ...writable.map(({ length }) => length)].join(', ')} bytes: ` +
      `without VIRTIO_F_ANY_LAYOUT they must have ${[...expected, 1].join(', ')}`,
  );
}
