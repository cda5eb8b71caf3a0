import { RunLogsService } from '../../proto/gen/flyteidl2/workflow/run_logs_service_pb.js';
import { actionPath } from '../identifiers.ts';
import { implement, type ServiceImplementation } from '../transport/handler.ts';
import { type LogTailDeps, tailLog } from '../watch/log-tail.ts';
import { logLine } from './data-proxy-service.ts';

/** The older name of DataProxyService.TailLogs (services.md §12.5). */
export function runLogsService(deps: LogTailDeps): ServiceImplementation {
  return implement(RunLogsService, {
    async *tailLogs(request, context) {
      const path = actionPath(request.actionId);
      for await (const lines of tailLog(deps, path, request.attempt, context.signal)) {
        yield lines.length === 0 ? {} : { logs: [{ lines: lines.map(logLine) }] };
      }
    },
  });
}
