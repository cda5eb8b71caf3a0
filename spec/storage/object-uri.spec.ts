import { expect } from 'chai';
import fc from 'fast-check';
import { InvalidObjectUri } from '../../storage/object-errors.ts';
import { formatObjectUri, joinObjectUri, parseObjectPrefix, parseObjectUri } from '../../storage/object-uri.ts';

describe('object URIs', () => {
  it('are literal: what is formatted parses to the same bucket and key', () => {
    const segment = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(fc.array(segment, { minLength: 1, maxLength: 5 }), segments => {
        const location = { bucket: 'my-bucket.1', key: segments.join('/') };
        let uri: string;
        try {
          uri = formatObjectUri(location);
        } catch (error) {
          return error instanceof InvalidObjectUri;
        }
        expect(parseObjectUri(uri)).to.deep.equal(location);
        return true;
      }),
    );
  });

  it('join below a base without climbing out of it', () => {
    expect(joinObjectUri('s3://bucket/runs/', 'a0', '1')).to.equal('s3://bucket/runs/a0/1');
    expect(joinObjectUri('s3://bucket', 'a b%?#')).to.equal('s3://bucket/a b%?#');
    expect(() => joinObjectUri('s3://bucket/runs', '..')).to.throw(InvalidObjectUri, 'segment ".."');
    expect(() => joinObjectUri('s3://bucket/runs', '')).to.throw(InvalidObjectUri, 'empty segment');
  });

  it('take any beginning of a key as a prefix', () => {
    for (const prefix of ['', 'a', 'a/', 'a/b.', 'a/.', 'a/..']) {
      expect(parseObjectPrefix(`s3://bucket/${prefix}`)).to.deep.equal({ bucket: 'bucket', key: prefix });
    }
    expect(parseObjectPrefix('s3://bucket')).to.deep.equal({ bucket: 'bucket', key: '' });
    for (const prefix of ['/', 'a//', '../', 'a/../b'])
      expect(() => parseObjectPrefix(`s3://bucket/${prefix}`)).to.throw(InvalidObjectUri);
  });
});
