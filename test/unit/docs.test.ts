import { expect, test } from 'bun:test';
import { generated, readDocument, withReference } from '../support/generate-docs.ts';

for (const document of Object.keys(generated)) {
  test(`${document} is up to date; mend it with: npm run docs`, async () => {
    expect(readDocument(document)).toBe(await withReference(document));
  });
}
