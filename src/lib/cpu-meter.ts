/** How much of one core this process used since the last question. */
export class CpuMeter {
  private cpu = process.cpuUsage();
  private at = performance.now();

  /** 100 is one core; more with several threads. */
  percent(): number {
    const { user, system } = process.cpuUsage(this.cpu); // microseconds
    const elapsed = performance.now() - this.at;
    this.cpu = process.cpuUsage();
    this.at = performance.now();
    return elapsed <= 0 ? 0 : Math.max(0, (user + system) / 10 / elapsed);
  }
}
