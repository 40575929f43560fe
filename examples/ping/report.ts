/** What ping(8) prints. Times are in milliseconds. */

export class RoundTrips {
  received = 0;
  duplicates = 0;
  errors = 0;
  least = Infinity;
  most = 0;
  private sum = 0;
  private sumOfSquares = 0;

  add(time: number): void {
    this.received += 1;
    this.least = Math.min(this.least, time);
    this.most = Math.max(this.most, time);
    this.sum += time;
    this.sumOfSquares += time * time;
  }

  get average(): number {
    return this.sum / this.received;
  }

  get deviation(): number {
    return Math.sqrt(Math.max(0, this.sumOfSquares / this.received - this.average ** 2));
  }
}

/** As ping(8): the longer the time, the fewer the decimals; what rounds up to 100 counts as 100. */
export function formatTime(time: number): string {
  const decimals = [0.9995, 9.995, 99.95].filter((limit) => time < limit).length;
  return time.toFixed(decimals);
}

/** The closing lines. */
export function summary(target: string, sent: number, elapsed: number, trips: RoundTrips): string {
  const { received, duplicates, errors, least, average, most, deviation } = trips;
  const loss = sent === 0 ? 0 : Number((((sent - received) * 100) / sent).toPrecision(6));
  const extra =
    (duplicates > 0 ? `, +${duplicates} duplicates` : '') + (errors > 0 ? `, +${errors} errors` : '');
  const lines = [
    '',
    `--- ${target} ping statistics ---`,
    `${sent} packets transmitted, ${received} received${extra}, ${loss}% packet loss, time ${Math.round(elapsed)}ms`,
  ];
  if (received > 0) {
    const times = [least, average, most, deviation].map((time) => time.toFixed(3)).join('/');
    lines.push(`rtt min/avg/max/mdev = ${times} ms`);
  }
  return `${lines.join('\n')}\n`;
}
