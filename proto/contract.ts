import { createRegistry, type DescFile, type DescService, type Registry } from '@bufbuild/protobuf';
import { file_flyteidl2_actions_actions_service } from './gen/flyteidl2/actions/actions_service_pb.js';
import { file_flyteidl2_app_app_logs_service } from './gen/flyteidl2/app/app_logs_service_pb.js';
import { file_flyteidl2_app_app_service } from './gen/flyteidl2/app/app_service_pb.js';
import { file_flyteidl2_artifact_artifact_service } from './gen/flyteidl2/artifact/artifact_service_pb.js';
import { file_flyteidl2_auth_auth_service } from './gen/flyteidl2/auth/auth_service_pb.js';
import { file_flyteidl2_auth_identity } from './gen/flyteidl2/auth/identity_pb.js';
import { file_flyteidl2_cacheservice_cacheservice } from './gen/flyteidl2/cacheservice/cacheservice_pb.js';
import { file_flyteidl2_cacheservice_v2_cacheservice } from './gen/flyteidl2/cacheservice/v2/cacheservice_pb.js';
import { file_flyteidl2_cluster_service } from './gen/flyteidl2/cluster/service_pb.js';
import { file_flyteidl2_connector_service } from './gen/flyteidl2/connector/service_pb.js';
import { file_flyteidl2_dataproxy_dataproxy_service } from './gen/flyteidl2/dataproxy/dataproxy_service_pb.js';
import { file_flyteidl2_imagebuilder_service } from './gen/flyteidl2/imagebuilder/service_pb.js';
import { file_flyteidl2_org_domain_service } from './gen/flyteidl2/org/domain_service_pb.js';
import { file_flyteidl2_project_project_service } from './gen/flyteidl2/project/project_service_pb.js';
import { file_flyteidl2_secret_secret } from './gen/flyteidl2/secret/secret_pb.js';
import { file_flyteidl2_settings_settings_service } from './gen/flyteidl2/settings/settings_service_pb.js';
import { file_flyteidl2_task_task_service } from './gen/flyteidl2/task/task_service_pb.js';
import { file_flyteidl2_trigger_trigger_service } from './gen/flyteidl2/trigger/trigger_service_pb.js';
import { file_flyteidl2_workflow_events_proxy_service } from './gen/flyteidl2/workflow/events_proxy_service_pb.js';
import { file_flyteidl2_workflow_internal_run_service } from './gen/flyteidl2/workflow/internal_run_service_pb.js';
import { file_flyteidl2_workflow_queue_service } from './gen/flyteidl2/workflow/queue_service_pb.js';
import { file_flyteidl2_workflow_run_logs_service } from './gen/flyteidl2/workflow/run_logs_service_pb.js';
import { file_flyteidl2_workflow_run_service } from './gen/flyteidl2/workflow/run_service_pb.js';
import { file_flyteidl2_workflow_state_service } from './gen/flyteidl2/workflow/state_service_pb.js';
import { file_flyteidl2_workflow_tracked_run_service } from './gen/flyteidl2/workflow/tracked_run_service_pb.js';
import { file_flyteidl2_workflow_translator_service } from './gen/flyteidl2/workflow/translator_service_pb.js';

const serviceFiles: readonly DescFile[] = [
  file_flyteidl2_actions_actions_service,
  file_flyteidl2_app_app_logs_service,
  file_flyteidl2_app_app_service,
  file_flyteidl2_artifact_artifact_service,
  file_flyteidl2_auth_auth_service,
  file_flyteidl2_auth_identity,
  file_flyteidl2_cacheservice_cacheservice,
  file_flyteidl2_cacheservice_v2_cacheservice,
  file_flyteidl2_cluster_service,
  file_flyteidl2_connector_service,
  file_flyteidl2_dataproxy_dataproxy_service,
  file_flyteidl2_imagebuilder_service,
  file_flyteidl2_org_domain_service,
  file_flyteidl2_project_project_service,
  file_flyteidl2_secret_secret,
  file_flyteidl2_settings_settings_service,
  file_flyteidl2_task_task_service,
  file_flyteidl2_trigger_trigger_service,
  file_flyteidl2_workflow_events_proxy_service,
  file_flyteidl2_workflow_internal_run_service,
  file_flyteidl2_workflow_queue_service,
  file_flyteidl2_workflow_run_logs_service,
  file_flyteidl2_workflow_run_service,
  file_flyteidl2_workflow_state_service,
  file_flyteidl2_workflow_tracked_run_service,
  file_flyteidl2_workflow_translator_service,
];

/** Every service of the contract, served or not: the gateway answers for all of them. */
export const contractServices: readonly DescService[] = serviceFiles.flatMap(file => file.services);

/** Every message that a service of the contract can carry; JSON needs it to read and write what hides in an Any. */
export const contractRegistry: Registry = createRegistry(...serviceFiles);
