import type { DescMethod, DescService } from '@bufbuild/protobuf';
import type { AnyHandler, ServiceImplementation } from './handler.ts';

/** One RPC as the gateway knows it: where it is called, and who answers. */
export interface RpcMethod {
  readonly desc: DescMethod;
  /** `/package.Service/Method`, the same in all protocols. */
  readonly path: string;
  /** Absent for what nobody serves yet; such a call ends with `unimplemented`. */
  readonly handler: AnyHandler | undefined;
}

/**
 * Every method of every service by path: those implemented, and those that the contract only names.
 * @throws TypeError if a service is implemented twice, because one of the two would silently never be called
 */
export function methodTable(
  implementations: readonly ServiceImplementation[],
  contract: readonly DescService[],
): ReadonlyMap<string, RpcMethod> {
  const byService = new Map<string, ServiceImplementation>();
  for (const service of contract) byService.set(service.typeName, { service, handlers: new Map() });
  const implemented = new Set<string>();
  for (const implementation of implementations) {
    const name = implementation.service.typeName;
    if (implemented.has(name)) throw new TypeError(`${name} is implemented twice`);
    implemented.add(name);
    byService.set(name, implementation);
  }
  const table = new Map<string, RpcMethod>();
  for (const { service, handlers } of byService.values()) {
    for (const desc of service.methods) {
      const path = `/${service.typeName}/${desc.name}`;
      table.set(path, { desc, path, handler: handlers.get(desc.localName) });
    }
  }
  return table;
}
