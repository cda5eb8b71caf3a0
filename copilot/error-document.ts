import { create, toBinary } from '@bufbuild/protobuf';
import {
  ContainerError_Kind,
  ContainerErrorSchema,
  ErrorDocumentSchema,
  ExecutionError_ErrorKind,
} from '../proto/gen/flyteidl2/core/execution_pb.js';
import type { CopilotFailure } from './failure.ts';

/** The codes of the two halves (copilot.md §3.5 and §4.3). */
export type FailureCode = 'InputDownloadFailed' | 'OutputUploadFailed';

/** More than any message needs; the executor keeps error documents in memory and in rows. */
const MAX_MESSAGE_CHARACTERS = 100_000;

/** The bytes of error.pb (flyteidl2.core.ErrorDocument) for a failure, as the executor reads them (executor.md §2.9). */
export const errorDocument = (code: FailureCode, failure: CopilotFailure): Uint8Array =>
  toBinary(
    ErrorDocumentSchema,
    create(ErrorDocumentSchema, {
      error: create(ContainerErrorSchema, {
        code,
        message: failure.message.slice(0, MAX_MESSAGE_CHARACTERS).toWellFormed(),
        kind: failure.recoverable ? ContainerError_Kind.RECOVERABLE : ContainerError_Kind.NON_RECOVERABLE,
        origin: failure.origin === 'user' ? ExecutionError_ErrorKind.USER : ExecutionError_ErrorKind.SYSTEM,
      }),
    }),
  );
