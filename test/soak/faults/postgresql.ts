/** The PostgreSQL of a node stops, dies or stands still. */
import type { Fault } from './fault.ts';

export const postgresqlFaults = {
  'PostgreSQL restarted': {
    async strike({ node: { server } }) {
      await server.stop();
      return { mend: () => server.start() };
    },
  },
  'PostgreSQL killed': {
    async strike({ node: { server } }) {
      await server.killAll();
      return { mend: () => server.start() };
    },
  },
  'PostgreSQL hangs': {
    async strike({ node: { server } }) {
      server.freeze('SIGSTOP');
      return { mend: async () => server.freeze('SIGCONT') };
    },
  },
} satisfies Record<string, Fault>;
