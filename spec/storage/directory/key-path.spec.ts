import { basename, posix } from 'node:path';
import { expect } from 'chai';
import fc from 'fast-check';
import { decodeName, fromBinary, objectPath, toBinary } from '../../../storage/directory/key-path.ts';

/** Reads a path back name by name, as a listing does. */
function keyOf(path: string): string {
  const names = path.split('/');
  return fromBinary(names.map((name, index) => decodeName(name, index < names.length - 1)!.binary).join(''));
}

describe('the path of a key', () => {
  const segment = fc.oneof(
    fc.string({ unit: 'binary', minLength: 1, maxLength: 12 }),
    fc.constantFrom(
      '.',
      '..',
      '...',
      '.a',
      'CON',
      'nul',
      '~',
      '@',
      '!',
      '%',
      '+',
      'Aa',
      ' ',
      'x'.repeat(80),
      'é'.repeat(100),
    ),
  );
  const key = fc.array(segment, { minLength: 1, maxLength: 5 }).map(segments => segments.join('/'));

  it('reads back to the key', () => {
    fc.assert(fc.property(key, each => keyOf(objectPath(toBinary(each))) === each));
  });

  it('stays below its bucket, with names every file system takes', () => {
    fc.assert(
      fc.property(key, each => {
        const path = objectPath(toBinary(each));
        expect(posix.normalize(path)).to.equal(path);
        for (const name of path.split('/')) {
          expect(name).to.match(/^[a-z0-9+%~_=-][a-z0-9+%~._=@!-]*$/);
          expect(name.length).to.be.at.most(255);
        }
        expect(basename(path)).to.match(/@$/);
      }),
    );
  });

  it('differs between keys even when case is folded', () => {
    fc.assert(
      fc.property(key, key, (a, b) => {
        const [left, right] = [a, b].map(each => objectPath(toBinary(each)).toLowerCase());
        return (left === right) === (a === b);
      }),
    );
  });
});
