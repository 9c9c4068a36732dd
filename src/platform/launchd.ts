/** The service under launchd: a daemon of the machine, or an agent of a user. */
import type { Env } from './platform.ts';
import type { ServiceManager, ServiceScope } from './service.ts';
import { SteepError } from '../lib/errors.ts';

export function launchdManager(_scope: ServiceScope, _env: Env): ServiceManager {
  throw new SteepError('FAILED', 'not yet');
}
