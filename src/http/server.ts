/** The door for load balancers and Prometheus. Answers come from memory, whatever PostgreSQL does. */
import { messageOf, SteepError } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import type { Subject } from '../operations/subject.ts';
import type { Platform } from '../platform/index.ts';
import { type Reply, routes } from './routes.ts';

export interface HttpServerOptions {
  bind: string;
  port: number;
  subject: Subject;
  platform: Platform;
  metrics: Metrics;
  log: Logger;
}

export interface HttpServer extends AsyncDisposable {
  readonly port: number;
}

/** How long a stop waits for answers that are under way. */
const STOP_MS = 1000;

/** Listens until disposed. Throws FAILED naming the address and, where it can be known, who has it. */
export function startHttpServer(options: HttpServerOptions): HttpServer {
  const { bind, port, platform } = options;
  try {
    const server = Bun.serve({
      hostname: bind,
      port,
      development: false,
      // Bun shares the port with whoever else has it unless told not to, when `development` is false.
      reusePort: false,
      idleTimeout: 10,
      maxRequestBodySize: 64 * 1024,
      fetch: (request) => answer(request, options),
      error: () => Response.json({ error: 'internal error' }, { status: 500 }),
    });
    return {
      port: server.port ?? port,
      async [Symbol.asyncDispose]() {
        await Promise.race([server.stop(), Bun.sleep(STOP_MS)]);
        await server.stop(true);
      },
    };
  } catch (error) {
    const holder = platform.listenerOf(port);
    throw new SteepError(
      'FAILED',
      `cannot listen on ${bind}:${port}: ${holder === undefined ? messageOf(error) : `${holder} has it`}`,
      {
        cause: error,
        hint: 'stop the other program, or set http.port',
      },
    );
  }
}

/** At once where the answer is there at once: a promise for each request costs as much as a small answer. */
function answer(
  request: Request,
  { subject, metrics, log }: HttpServerOptions,
): Response | Promise<Response> {
  const began = performance.now();
  const path = pathOf(request.url);
  const route = Object.hasOwn(routes, path) ? routes[path] : undefined;
  const finish = (reply: Reply, headers?: Record<string, string>): Response => {
    const seconds = (performance.now() - began) / 1000;
    metrics.observe('http', route ? path : 'other', String(reply.status), seconds);
    return responseOf(reply, headers);
  };
  if (!route) return finish({ status: 404, body: { error: 'not found', paths: Object.keys(routes) } });
  if (request.method !== 'GET' && request.method !== 'HEAD')
    return finish(
      { status: 405, body: { error: `method ${request.method} is not allowed` } },
      { allow: 'GET, HEAD' },
    );
  const failed = (error: unknown): Response => {
    const stack = error instanceof Error ? error.stack : undefined;
    log.error('a request failed', { path, error: messageOf(error), stack });
    return finish({ status: 500, body: { error: 'internal error' } });
  };
  try {
    const reply = route({ subject, metrics });
    return reply instanceof Promise ? reply.then((late) => finish(late), failed) : finish(reply);
  } catch (error) {
    return failed(error);
  }
}

function responseOf({ status, body, type }: Reply, more?: Record<string, string>): Response {
  const headers = { 'content-type': type ?? 'application/json', 'cache-control': 'no-store', ...more };
  return new Response(typeof body === 'string' ? body : JSON.stringify(body), { status, headers });
}

/** The path of a URL, without making a URL object for each request. It is only a path when no Host was sent. */
function pathOf(url: string): string {
  const start = url.startsWith('/') ? 0 : url.indexOf('/', url.indexOf('://') + 3);
  const query = url.indexOf('?', start);
  return url.slice(start, query === -1 ? undefined : query);
}
