import { fromBinary, fromJsonString, type Message, type Registry, toBinary, toJsonString } from '@bufbuild/protobuf';
import { Code, StarlingError } from '../errors.ts';
import type { RpcMethod } from './method-table.ts';

export type CodecName = 'proto' | 'json';

/** Requests and answers of a method to and from bytes, in the two codecs of the Connect protocol. */
export interface MessageCodec {
  /** Unknown JSON fields are ignored, unknown binary fields kept. @throws StarlingError invalid_argument, saying what is wrong */
  decode(method: RpcMethod, codec: CodecName, bytes: Uint8Array): Message;
  encode(method: RpcMethod, codec: CodecName, message: Message): Uint8Array;
}

export function createMessageCodec(registry: Registry): MessageCodec {
  const read = { registry, ignoreUnknownFields: true };
  const write = { registry };
  return {
    decode({ desc }, codec, bytes) {
      try {
        if (codec === 'proto') return fromBinary(desc.input, bytes);
        return fromJsonString(desc.input, Buffer.from(bytes).toString('utf8'), read);
      } catch (reason) {
        const why = reason instanceof Error ? `: ${reason.message}` : '';
        throw new StarlingError(Code.InvalidArgument, `this is not a ${desc.input.typeName} in ${codec}${why}`);
      }
    },
    encode({ desc }, codec, message) {
      if (codec === 'proto') return toBinary(desc.output, message);
      return Buffer.from(toJsonString(desc.output, message, write));
    },
  };
}
