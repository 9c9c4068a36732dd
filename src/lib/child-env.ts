/** Our environment as a child may have it: PGPASSWORD is for us alone, and a child's environment can be read. */
export function childEnv(more: Record<string, string> = {}): Record<string, string | undefined> {
  const env = { ...process.env, ...more };
  delete env['PGPASSWORD'];
  return env;
}
