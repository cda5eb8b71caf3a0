import { create, type DescMessage, type MessageInitShape } from '@bufbuild/protobuf';
import { expect } from 'chai';
import { Code } from '../../../gateway/errors.ts';
import { createRequestValidator } from '../../../gateway/transport/validation.ts';
import { contractServices } from '../../../proto/contract.ts';
import { AbortRequestSchema } from '../../../proto/gen/flyteidl2/actions/actions_service_pb.js';
import { SelectClusterRequestSchema } from '../../../proto/gen/flyteidl2/cluster/payload_pb.js';
import { TailLogsRequestSchema } from '../../../proto/gen/flyteidl2/dataproxy/dataproxy_service_pb.js';
import { DeployTaskRequestSchema, ListTasksRequestSchema } from '../../../proto/gen/flyteidl2/task/task_service_pb.js';
import {
  GetTriggerDetailsRequestSchema,
  ListTriggersRequestSchema,
} from '../../../proto/gen/flyteidl2/trigger/trigger_service_pb.js';
import {
  AbortRunRequestSchema,
  CreateRunRequestSchema,
  GetActionLogContextRequestSchema,
  ListRunsRequestSchema,
} from '../../../proto/gen/flyteidl2/workflow/run_service_pb.js';

const validate = createRequestValidator();
const check = <D extends DescMessage>(desc: D, init: MessageInitShape<D>) => validate(desc, create(desc, init));

const run = { org: '', project: 'p', domain: 'd', name: 'r1' };
const action = { run, name: 'a0' };

describe('the rules of the contract', () => {
  it('are enforced, naming field and rule', () => {
    const missing = check(AbortRunRequestSchema, {})!;
    expect(missing.code).to.equal(Code.InvalidArgument);
    expect(missing.message).to.contain('run_id').and.to.contain('(required)');
    const long = check(AbortRunRequestSchema, { runId: { ...run, name: 'x'.repeat(31) } })!;
    expect(long.message)
      .to.contain(`run_id.name is "${'x'.repeat(31)}": must be at most 30`)
      .and.to.contain('(string.max_len)');
    expect(long.details).to.have.length(1);
    const oneof = check(CreateRunRequestSchema, {})!;
    expect(oneof.message).to.contain('id').and.to.contain('task');
  });

  it('never demand an organisation', () => {
    expect(check(AbortRunRequestSchema, { runId: run })).to.equal(undefined);
    expect(
      check(SelectClusterRequestSchema, { resource: { case: 'orgId', value: { name: '' } }, operation: 8 }),
    ).to.equal(undefined);
    expect(check(ListTasksRequestSchema, { scopeBy: { case: 'org', value: '' } })).to.equal(undefined);
  });

  it('let through what shipped clients send', () => {
    expect(check(ListRunsRequestSchema, {}), 'list without scope').to.equal(undefined);
    expect(check(ListTasksRequestSchema, {}), 'list without scope').to.equal(undefined);
    expect(check(ListTriggersRequestSchema, {}), 'list without scope').to.equal(undefined);
    expect(check(TailLogsRequestSchema, { actionId: action, attempt: 0 }), 'latest attempt').to.equal(undefined);
    expect(check(GetActionLogContextRequestSchema, { actionId: action }), 'latest attempt').to.equal(undefined);
    const taskId = { project: 'p', domain: 'd', name: 't', version: 'v' };
    expect(check(DeployTaskRequestSchema, { taskId, spec: {} }), 'spec without template').to.equal(undefined);
    const trigger = { project: 'p', domain: 'd', name: 'nightly', taskName: '' };
    expect(check(GetTriggerDetailsRequestSchema, { name: trigger }), 'trigger by its own name').to.equal(undefined);
  });

  it('still refuse the rest of a request that has a tolerated fault', () => {
    const wrong = check(TailLogsRequestSchema, { attempt: 0 })!;
    expect(wrong.message).to.contain('action_id').and.not.to.contain('attempt');
  });

  it('are shown at most five at a time', () => {
    const many = check(DeployTaskRequestSchema, {
      taskId: {},
      spec: { taskTemplate: {}, shortName: 'x'.repeat(5_000) },
    })!;
    expect(many.message.split(';').length).to.be.at.most(6);
  });

  it('compile for every request of the contract', () => {
    for (const { methods } of contractServices) {
      for (const { input } of methods) expect(() => validate(input, create(input))).not.to.throw();
    }
    expect(check(AbortRequestSchema, { actionId: action })).to.equal(undefined);
  });
});
