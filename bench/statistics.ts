/** A client of Redis that asks for its statistics. */
export interface Statistics {
  info(section: string): Promise<string>;
  configResetStat(): Promise<unknown>;
}

/** What Redis did during a turn. */
export interface Watched<R> {
  readonly result: R;
  /** Processor time of the main thread in microseconds, which includes reading, parsing and writing. */
  readonly cpuMicros: number;
  /** Number of commands that clients sent. */
  readonly commands: number;
}

export async function watchRedis<R>(admin: Statistics, take: () => Promise<R>): Promise<Watched<R>> {
  await admin.configResetStat();
  const before = await cpuMicros(admin);
  const result = await take();
  const after = await cpuMicros(admin);
  return { result, cpuMicros: after - before, commands: commandsOf(await admin.info("commandstats")) };
}

async function cpuMicros(admin: Statistics): Promise<number> {
  const info = await admin.info("cpu");
  const seconds = [...info.matchAll(/used_cpu_(?:sys|user)_main_thread:([0-9.]+)/g)];
  return seconds.reduce((sum, [, text]) => sum + Number(text) * 1e6, 0);
}

/**
 * Counts the commands of reads that clients sent. Redis counts commands inside scripts as well. A script that touches
 * a session asks HMGET once and PEXPIRE once, and clients never send PEXPIRE.
 */
function commandsOf(stats: string): number {
  const found = [...stats.matchAll(/cmdstat_([^:]+):calls=(\d+)/g)];
  const calls = new Map(found.map(([, name, text]) => [name as string, Number(text)]));
  const of = (name: string): number => calls.get(name) ?? 0;
  return of("get") + of("expire") + of("evalsha") + of("hmget") - of("pexpire");
}
