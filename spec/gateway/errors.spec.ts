import { Code, ConnectError } from '@connectrpc/connect';
import { expect } from 'chai';
import {
  alreadyExists,
  codeName,
  internal,
  invalidArgument,
  notFound,
  StarlingError,
  toConnectError,
  unavailable,
} from '../../gateway/errors.ts';

describe('an error of the catalogue', () => {
  it('names the field, the value and the remedy', () => {
    expect(invalidArgument('run_id.name', 'Bad_Name', 'must be a DNS label').message).to.equal(
      'run_id.name is "Bad_Name": must be a DNS label',
    );
    expect(invalidArgument('limit', -1n, 'must not be negative').message).to.equal('limit is -1: must not be negative');
    expect(invalidArgument('project', '', 'name one').message).to.equal('project is empty: name one');
    expect(invalidArgument('key', { a: 1n }, 'drop it').message).to.equal('key is {"a":"1"}: drop it');
  });

  it('shows long values cut and bytes only by their number', () => {
    const long = invalidArgument('name', 'x'.repeat(10_000), 'be short').message;
    expect(long.length).to.be.lessThan(150);
    expect(invalidArgument('value', new Uint8Array(7), 'send text').message).to.contain('7 bytes');
  });

  it('has a code for each meaning, and the lower-snake name of it', () => {
    expect(notFound('run', 'r1').code).to.equal(Code.NotFound);
    expect(alreadyExists('run', 'r1').message).to.equal('run "r1" already exists');
    expect(codeName(Code.ResourceExhausted)).to.equal('resource_exhausted');
  });

  it('is made of anything that is thrown, hiding what nobody foresaw', () => {
    const known = unavailable('later');
    expect(StarlingError.from(known, 'id')).to.equal(known);
    const foreign = StarlingError.from(new ConnectError('gone', Code.NotFound), 'id');
    expect(foreign).to.include({ code: Code.NotFound, message: 'gone', unexpected: false });
    for (const thrown of [new Error('secret'), 'secret', undefined, null, { secret: 1 }]) {
      const hidden = StarlingError.from(thrown, 'id-7');
      expect(hidden.code).to.equal(Code.Internal);
      expect(hidden.unexpected).to.equal(true);
      expect(hidden.message).to.contain('id-7').and.not.to.contain('secret');
    }
  });

  it('goes to the wire with code and text, never with its cause', () => {
    const wire = toConnectError(internal('id-7', new Error('secret')));
    expect(wire.code).to.equal(Code.Internal);
    expect(JSON.stringify(wire)).not.to.contain('secret');
    expect(wire.cause).to.equal(undefined);
  });

  it('survives text that is no Unicode', () => {
    expect(encodeURI(invalidArgument('name', '\ud800', 'send Unicode').message)).to.contain('name');
    expect(encodeURI(new StarlingError(Code.NotFound, 'x\ud800').message)).to.contain('x');
  });
});
