import { expect } from 'chai';
import { StarlingError } from '../../gateway/errors.ts';

/** The error of the catalogue that a call ends with. */
export async function rejection(promise: Promise<unknown>): Promise<StarlingError> {
  try {
    await promise;
  } catch (error) {
    expect(error).to.be.instanceOf(StarlingError);
    return error as StarlingError;
  }
  throw new Error('this was to be refused');
}
