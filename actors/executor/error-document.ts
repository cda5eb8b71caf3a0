import { fromBinary } from '@bufbuild/protobuf';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import {
  type ContainerError,
  ContainerError_Kind,
  ErrorDocumentSchema,
  ExecutionError_ErrorKind,
} from '../../proto/gen/flyteidl2/core/execution_pb.js';
import type { Failure } from '../action/failure.ts';

/** Longest message kept of an error; the rest stays in error.pb. Messages travel in letters and rows. */
export const MAX_MESSAGE_CHARS = 64 * 1024;

const CODE_FIELD = 1;
const MESSAGE_FIELD = 2;

/**
 * What the SDK or the co-pilot says went wrong (sdk.md §5.3): `kind` says whether another attempt may help, `origin` who
 * is to blame. Without an origin (a module that does not load) it is the user's code that failed.
 * @param uri for messages about the document itself
 * @param whole false when `bytes` is only the beginning of a document too long to be read
 */
export function readErrorDocument(bytes: Uint8Array, uri: string, whole: boolean): Failure {
  if (!whole) return readBeginning(bytes, uri);
  let error: ContainerError | undefined;
  try {
    error = fromBinary(ErrorDocumentSchema, bytes).error;
  } catch (cause) {
    return badFormat(uri, `cannot be decoded (${(cause as Error).message})`);
  }
  if (error === undefined) return badFormat(uri, 'holds no error');
  return {
    code: error.code || 'UnknownError',
    kind: error.origin === ExecutionError_ErrorKind.SYSTEM ? 'SYSTEM' : 'USER',
    message: shorten(error.message || `the task failed with ${error.code || 'an error'} and no message`),
    recoverable: error.kind === ContainerError_Kind.RECOVERABLE,
  };
}

/** A text of at most MAX_MESSAGE_CHARS: head and tail, because a traceback ends with what matters. */
export function shorten(text: string): string {
  if (text.length <= MAX_MESSAGE_CHARS) return text;
  const half = MAX_MESSAGE_CHARS / 2;
  const left = text.length - MAX_MESSAGE_CHARS;
  return `${text.slice(0, half)}\n… ${left} characters left out …\n${text.slice(-half)}`;
}

/** Code and the head of the message from a document that was cut off: its message is longer than anybody reads. */
function readBeginning(bytes: Uint8Array, uri: string): Failure {
  let code = '';
  let head = '';
  try {
    const document = new BinaryReader(bytes);
    document.tag();
    document.uint32();
    while (document.pos < document.len) {
      const [field, wire] = document.tag();
      if (wire !== WireType.LengthDelimited) {
        document.skip(wire, field);
        continue;
      }
      const length = document.uint32();
      const text = new TextDecoder().decode(bytes.subarray(document.pos, document.pos + length));
      document.pos += length;
      if (field === CODE_FIELD) code = text;
      if (field === MESSAGE_FIELD) head = text;
    }
  } catch (cause) {
    if (code === '' && head === '') return badFormat(uri, `cannot be decoded (${(cause as Error).message})`);
  }
  const message = `${head.slice(0, MAX_MESSAGE_CHARS)}\n… the whole error is in ${uri}`;
  return { code: code || 'UnknownError', kind: 'USER', message, recoverable: true };
}

function badFormat(uri: string, what: string): Failure {
  const message = `the task failed, and its error document ${uri} ${what}; its log may tell more`;
  return { code: 'ErrorFileBadFormat', kind: 'SYSTEM', message, recoverable: true };
}
