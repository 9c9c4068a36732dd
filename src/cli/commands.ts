import type { Command } from './command.ts';

interface Entry {
  about: string;
  load: () => Promise<{ command: Command }>;
}

/** Every command, by its words; the order is that of the help. Only the file of the one that runs is loaded. */
export const commands: Record<string, Entry> = {
  run: { about: 'Run the daemon in the foreground', load: () => import('./run.ts') },
  status: { about: 'Show how the daemon is', load: () => import('./status.ts') },
  health: { about: 'Show whether the daemon, or a peer, is healthy', load: () => import('./health.ts') },
  install: {
    about: 'Make the daemon a service of the operating system, which starts it at every boot',
    load: () => import('./service/install.ts'),
  },
  uninstall: { about: 'Remove the service', load: () => import('./service/uninstall.ts') },
  start: { about: 'Start the service', load: () => import('./service/start.ts') },
  stop: { about: 'Stop the service', load: () => import('./service/stop.ts') },
  restart: { about: 'Stop and start the service', load: () => import('./service/restart.ts') },
  logs: { about: 'Show the log of the service', load: () => import('./service/logs.ts') },
  reload: { about: 'Let the daemon read its configuration again', load: () => import('./reload.ts') },
  'init-extension': {
    about: 'Install or upgrade the extension steep_repl in PostgreSQL',
    load: () => import('./init-extension.ts'),
  },
  'nodes list': { about: 'List the nodes of the cluster', load: () => import('./nodes/list.ts') },
  'nodes get': { about: 'Show one node', load: () => import('./nodes/get.ts') },
  'nodes join': { about: 'Join the cluster of a node', load: () => import('./nodes/join.ts') },
  'nodes remove': { about: 'Remove a node from the cluster', load: () => import('./nodes/remove.ts') },
  'nodes readmit': { about: 'Let a removed node come back', load: () => import('./nodes/readmit.ts') },
  'nodes offline': {
    about: 'Say that a node is down on purpose: it is not alarmed about, and does not coordinate',
    load: () => import('./nodes/offline.ts'),
  },
  'nodes online': { about: 'End what nodes offline said', load: () => import('./nodes/online.ts') },
  'coordinator show': { about: 'Show which node coordinates', load: () => import('./coordinator/show.ts') },
  'coordinator transfer': {
    about: 'Let another node coordinate',
    load: () => import('./coordinator/transfer.ts'),
  },
  'cluster recover': {
    about: 'Go on with the survivors when the majority is lost for good',
    load: () => import('./cluster/recover.ts'),
  },
  audit: { about: 'Show the audit trail', load: () => import('./audit.ts') },
  'config show': {
    about: 'Show the values in force and where each came from',
    load: () => import('./config/show.ts'),
  },
  'config check': {
    about: 'Check the configuration, its files, its ports and PostgreSQL',
    load: () => import('./config/check.ts'),
  },
  'config schema': {
    about: 'Print the JSON Schema of the file, for editors',
    load: () => import('./config/schema.ts'),
  },
  'config path': {
    about: 'Show which file is used, and where it is looked for',
    load: () => import('./config/path.ts'),
  },
  'config init': { about: 'Write a commented starter file', load: () => import('./config/init.ts') },
  'tls init': {
    about: 'Make the CA, once, and the certificate of this node; again: renew the certificate',
    load: () => import('./tls/init.ts'),
  },
  'tls issue': {
    about: 'Sign a certificate for another node, or for an operator’s tools',
    load: () => import('./tls/issue.ts'),
  },
  'tls show': { about: 'Show the certificates and when they expire', load: () => import('./tls/show.ts') },
  'tls verify': {
    about: 'Check the certificates, and the handshake with another node',
    load: () => import('./tls/verify.ts'),
  },
  doctor: {
    about: 'Check everything, and name the command that mends it',
    load: () => import('./doctor.ts'),
  },
  completion: { about: 'Print a completion script for a shell', load: () => import('./completion.ts') },
  version: { about: 'Print the version', load: () => import('./version.ts') },
};

/** What programs start and people do not: in no help, no completion and no documentation. */
export const hiddenCommands: Record<string, Omit<Entry, 'about'>> = {
  service: { load: () => import('./service/process.ts') },
};
