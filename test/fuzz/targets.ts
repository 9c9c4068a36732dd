/** By name; each is loaded when it is wanted. */
import type { OpenTarget } from './target.ts';

export const targets: Record<string, () => Promise<OpenTarget>> = {
  config: async () => (await import('./config.ts')).openConfig,
  certificates: async () => (await import('./certificates.ts')).openCertificates,
  state: async () => (await import('./state.ts')).openState,
  outbox: async () => (await import('./outbox.ts')).openOutbox,
  ipc: async () => (await import('./ipc.ts')).openIpc,
  http: async () => (await import('./http.ts')).openHttp,
  rpc: async () => (await import('./rpc.ts')).openRpc,
  frames: async () => (await import('./frames.ts')).openFrames,
};
