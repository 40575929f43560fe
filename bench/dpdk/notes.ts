/** What a reader has to know of the figures beside DPDK. */
export const NOTES: readonly string[] = [
  'Each figure is the median of the rounds. Before and after each trial it is measured how long a cache line takes from ' +
    'the one processor to the other; near is less than 150 ns, far more than 400 ns. Rounds of one table were measured at one distance from ' +
    'their first trial to their last. The ratio is the median of the ratios of the rounds, and 1.00 is as fast as C.',
  'All drivers of a row have negotiated the same of what changes the work for a frame: split or packed rings, ' +
    'VIRTIO_F_IN_ORDER or not, mergeable buffers or not. Left to themselves, both drivers use buffers in order where the ' +
    'backend offers that, as this one does. DPDK’s vectorised path is there for split rings that are not in order, ' +
    'where only receiving is vectorised, and for packed rings that are.',
  'The vectorised path takes several descriptors by one instruction (AVX-512 on packed rings), and believes what ' +
    'the device says of them. JavaScript has no such instructions. Of the time that this driver takes more, the ' +
    'section “The driver alone” says how much goes into the pool, into copying the frame, and into the ring.',
  'Counted are the frames that the backend has put into the ring of the driver (receive) or taken out of it (all others), ' +
    'for 0.3 s by the clock of testpmd, after 0.5 s of running in. In the case of receive the backend can not be ahead ' +
    'by more than a ring: it puts a frame only where the driver has given a buffer.',
  'Receive: the backend sends what it can (txonly), the driver takes it and gives the buffer back.',
  'Transmit: the driver sends what it can, the backend takes it and drops it (rxonly). For each frame DPDK takes a buffer ' +
    'from its pool and writes 42 bytes of headers into it. So does this driver with 64 bytes; or it sends buffers as they ' +
    'are, in which the frame was written beforehand, for which testpmd has no mode of its own.',
  'Forward: the backend generates frames (flowgen), the driver sends by the same device what it receives, and what comes ' +
    'back is counted. What the ring has no room for is dropped on both sides.',
  'Loop: frames go round between both, as many as the rings hold, and neither makes any.',
];
