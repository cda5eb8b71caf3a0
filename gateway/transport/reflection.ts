import type { DescFile, DescService } from '@bufbuild/protobuf';
import { createRegistry, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import {
  ServerReflection,
  type ServerReflectionRequest,
  type ServerReflectionResponseSchema,
} from '../../proto/gen/grpc/reflection/v1/reflection_pb.js';
import { Code } from '../errors.ts';
import { implement, type ServiceImplementation } from './handler.ts';

type Answer = NonNullable<MessageInitShape<typeof ServerReflectionResponseSchema>['messageResponse']>;

/**
 * grpc.reflection.v1: tools without our .proto files (`buf curl`, `grpcurl`) list services and fetch the descriptors they need. It is
 * served in every protocol, because such a tool asks in the protocol it will call with.
 */
export function createReflectionService(services: readonly DescService[]): ServiceImplementation {
  const files = new Map<string, DescFile>();
  const collect = (file: DescFile): void => {
    if (files.has(file.name)) return;
    files.set(file.name, file);
    file.dependencies.forEach(collect);
  };
  for (const { file } of [...services, ServerReflection]) collect(file);
  const registry = createRegistry(...files.values());

  /** A file and all it imports, what is imported first. */
  function withImports(file: DescFile): Uint8Array[] {
    const ordered = new Set<DescFile>();
    const visit = (next: DescFile): void => {
      if (ordered.has(next)) return;
      next.dependencies.forEach(visit);
      ordered.add(next);
    };
    visit(file);
    return [...ordered].map(({ proto }) => toBinary(FileDescriptorProtoSchema, proto));
  }

  function fileOf(symbol: string): DescFile | undefined {
    const found = registry.get(symbol) ?? registry.get(symbol.slice(0, symbol.lastIndexOf('.')));
    return found?.file;
  }

  const described = (file: DescFile | undefined, what: string): Answer =>
    file
      ? { case: 'fileDescriptorResponse', value: { fileDescriptorProto: withImports(file) } }
      : unknown(`nothing here is called ${what}`);

  const unknown = (errorMessage: string): Answer => ({
    case: 'errorResponse',
    value: { errorCode: Code.NotFound, errorMessage },
  });

  function answerOf({ messageRequest: asked }: ServerReflectionRequest): Answer {
    switch (asked.case) {
      case 'listServices':
        return {
          case: 'listServicesResponse',
          value: { service: [...services, ServerReflection].map(({ typeName }) => ({ name: typeName })) },
        };
      case 'fileByFilename':
        return described(files.get(asked.value), asked.value);
      case 'fileContainingSymbol':
        return described(fileOf(asked.value), asked.value);
      default:
        return unknown('extensions are not indexed');
    }
  }

  return implement(ServerReflection, {
    async *serverReflectionInfo(requests) {
      for await (const request of requests) yield { originalRequest: request, messageResponse: answerOf(request) };
    },
  });
}
