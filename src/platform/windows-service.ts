/** The service of Windows. */
import { SteepError } from '../lib/errors.ts';
import type { ServiceManager, ServiceScope } from './service.ts';

export function windowsServiceManager(_scope: ServiceScope): ServiceManager {
  throw new SteepError('FAILED', 'steep-repl cannot be a service on Windows yet', {
    hint: 'steep-repl run',
  });
}
