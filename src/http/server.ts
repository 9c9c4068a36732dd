/** The door for load balancers and Prometheus. Answers come from memory, whatever PostgreSQL does. */
import { messageOf, SteepError } from '../lib/errors.ts';
import type { Metrics } from '../lib/metrics.ts';
import type { Subject } from '../operations/subject.ts';
import type { Platform } from '../platform/index.ts';
import { routes } from './routes.ts';

export interface HttpServerOptions {
  bind: string;
  port: number;
  subject: Subject;
  platform: Platform;
  metrics: Metrics;
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

async function answer(request: Request, { subject, metrics }: HttpServerOptions): Promise<Response> {
  const began = performance.now();
  const path = pathOf(request.url);
  const route = Object.hasOwn(routes, path) ? routes[path] : undefined;
  const response = await respond(request, route, { subject, metrics });
  metrics.observe(
    'http',
    route ? path : 'other',
    String(response.status),
    (performance.now() - began) / 1000,
  );
  return response;
}

async function respond(
  { method }: Request,
  route: (typeof routes)[string] | undefined,
  context: { subject: Subject; metrics: Metrics },
): Promise<Response> {
  if (!route) return Response.json({ error: 'not found', paths: Object.keys(routes) }, { status: 404 });
  if (method !== 'GET' && method !== 'HEAD')
    return Response.json(
      { error: `method ${method} is not allowed` },
      { status: 405, headers: { allow: 'GET, HEAD' } },
    );
  const response = await route(context);
  response.headers.set('cache-control', 'no-store');
  return response;
}

/** The path of a URL, without making a URL object for each request. It is only a path when no Host was sent. */
function pathOf(url: string): string {
  const start = url.startsWith('/') ? 0 : url.indexOf('/', url.indexOf('://') + 3);
  const query = url.indexOf('?', start);
  return url.slice(start, query === -1 ? undefined : query);
}
