import { hostname } from 'node:os';
import { isHost, parseHostPort } from '../../lib/host-port.ts';
import { caKeyFile } from '../../tls/authority.ts';
import { initTls } from '../../tls/init.ts';
import { defineCommand } from '../command.ts';
import { configArg, jsonArg, printJson, printText } from '../output.ts';
import { certificateJson, hostArg, hostsFrom, readLocal, untilText } from './local.ts';

export const command = defineCommand({
  args: {
    config: configArg,
    host: {
      ...hostArg,
      description:
        'Further names and addresses of this node, separated by commas (default: those that its certificate has)',
    },
    json: jsonArg,
  },
  /** JSON: `ca` (made or kept), `authority` and `certificate` as in `tls show`, `wrote[]`. */
  async run(args) {
    const { config, files, platform } = readLocal(args.config);
    const advertised = parseHostPort(config.grpc.advertise)?.host;
    const { ca, authority, certificate, wrote } = await initTls({
      files,
      nodeId: config.node_id,
      ownHosts: [hostname(), advertised ?? ''].filter(isHost),
      hosts: hostsFrom(args.host),
      stateDir: config.state_dir,
      platform,
    });
    if (args.json)
      return printJson({
        ca,
        authority: certificateJson(authority),
        certificate: certificateJson(certificate),
        wrote,
      });
    const say = (text: string): void => printText(text, 'stderr');
    for (const file of wrote) say(`wrote ${file}`);
    say(`CA ${ca}: ${authority.subject}, valid until ${untilText(authority.notAfter)}`);
    say(`certificate of ${config.node_id}: valid until ${untilText(certificate.notAfter)}`);
    say(`  for ${certificate.sans.join(', ')}`);
    if (ca === 'made')
      say(`keep a copy of ${caKeyFile(files.ca_file)} in a safe place, and give it to no other host`);
    say('next, on this host, for each other node:  steep-repl tls issue NODE --host ADDRESS');
    return undefined;
  },
});
