/**
 * The services of a master, ready to be added to its server.
 *
 * Every master serves all of them from the start, in every role. What only the leader may do is refused by the others at
 * once with UNAVAILABLE, the one status after which every client looks for another master; that includes the question
 * for a service's version, by which clients find the leader. Workers register with and report to all masters, and the
 * cluster's defaults are the same on all, so those are served by standbys too.
 *
 * What this version does not offer is refused with INVALID_ARGUMENT: after UNIMPLEMENTED Alluxio's client would go on
 * asking for two minutes.
 * @module
 */

import { RockpoolError } from "../common/errors.ts";
import { ServiceType, ServiceVersionClientService } from "../proto/gen/version.ts";
import { type ServiceTable, unary } from "../rpc/service.ts";
import { blockClientService } from "./services_block.ts";
import {
  configurationAdminService,
  metaConfigurationService,
  metaMasterService,
} from "./services_configuration.ts";
import { fileSystemClientService } from "./services_file_system.ts";
import { journalAdminService, journalClientService } from "./services_journal.ts";
import { metaClientService, metricsService } from "./services_meta.ts";
import { type MasterServicePorts, requireServing } from "./services_ports.ts";
import {
  blockWorkerService,
  fileSystemJobService,
  fileSystemWorkerService,
  workerFarewellService,
} from "./services_worker.ts";

/** Clients accept exactly these numbers: they are Alluxio 2.9.4's. */
const VERSIONS: ReadonlyMap<ServiceType | undefined, number> = new Map([
  [ServiceType.FILE_SYSTEM_MASTER_CLIENT_SERVICE, 2],
  [ServiceType.FILE_SYSTEM_MASTER_WORKER_SERVICE, 2],
  [ServiceType.FILE_SYSTEM_MASTER_JOB_SERVICE, 2],
  [ServiceType.BLOCK_MASTER_CLIENT_SERVICE, 2],
  [ServiceType.BLOCK_MASTER_WORKER_SERVICE, 2],
  [ServiceType.META_MASTER_CONFIG_SERVICE, 2],
  [ServiceType.META_MASTER_CLIENT_SERVICE, 2],
  [ServiceType.META_MASTER_MASTER_SERVICE, 2],
  [ServiceType.METRICS_MASTER_CLIENT_SERVICE, 2],
  [ServiceType.JOURNAL_MASTER_CLIENT_SERVICE, 1],
]);

/** Every service of a master but the login (see `rpc/sasl.ts`). */
export function masterServices(ports: MasterServicePorts): ServiceTable[] {
  return [
    versionService(ports),
    fileSystemClientService(ports),
    fileSystemWorkerService(ports),
    fileSystemJobService(ports),
    blockClientService(ports),
    blockWorkerService(ports),
    workerFarewellService(ports),
    metaConfigurationService(ports),
    metaClientService(ports),
    metaMasterService(ports),
    configurationAdminService(ports),
    metricsService(ports),
    journalClientService(ports),
    journalAdminService(ports),
  ];
}

function versionService(ports: MasterServicePorts): ServiceTable {
  const { getServiceVersion } = ServiceVersionClientService.methods;
  return {
    name: ServiceVersionClientService.name,
    isAuthenticated: false,
    methods: [
      unary(getServiceVersion, ({ serviceType }) => {
        requireServing(ports);
        const version = VERSIONS.get(serviceType);
        if (version !== undefined) return { version };
        const name = Object.entries(ServiceType).find(([, number]) => number === serviceType)?.[0];
        throw new RockpoolError("NOT_FOUND", `Service ${name ?? "of this number"} is not served`);
      }),
    ],
  };
}
