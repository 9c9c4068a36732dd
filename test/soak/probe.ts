/** `bun probe.ts`: asks the HTTP door of the network namespace that it runs in, all the time; a line for each answer. */
const routes = { '/live': 250, '/health': 1000, '/ready': 1000, '/coordinator': 1000, '/metrics': 2000 };

export interface Probed {
  route: keyof typeof routes;
  from: number;
  to: number;
  /** 0: there was no answer. */
  status: number;
  error?: string;
}

async function probe(route: keyof typeof routes): Promise<never> {
  for (;;) {
    const from = Date.now();
    let answer: Pick<Probed, 'status' | 'error'>;
    try {
      const response = await fetch(`http://127.0.0.1:8080${route}`, {
        signal: AbortSignal.timeout(60_000),
        keepalive: false,
      });
      await response.text();
      answer = { status: response.status };
    } catch (error) {
      answer = { status: 0, error: String(error) };
    }
    console.log(JSON.stringify({ route, from, to: Date.now(), ...answer } satisfies Probed));
    await Bun.sleep(routes[route]);
  }
}

if (import.meta.main) await Promise.all((Object.keys(routes) as (keyof typeof routes)[]).map(probe));
