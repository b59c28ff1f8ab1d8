"""Serves one emulator of AWS on the listening socket that it is given as standard input.

A socket that listens before this process starts cannot be lost to another process, and queues what is asked while the
emulator is being imported. With --attached, standard output is a socket too: the process ends when its other end is
closed, so that it never outlives who started it.
"""

import argparse
import os
import signal
import socket
import sys
import threading

MOTO = {
    # Certificates are issued at once instead of after a minute.
    "MOTO_ACM_VALIDATION_WAIT": "0",
    "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",
    "MOTO_ENABLE_AMI_VALIDATION": "true",
    "MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION": "true",
    "MOTO_ENABLE_KEYPAIR_VALIDATION": "true",
}
MINISTACK = {
    "BIND_HOST": "127.0.0.1",
    "IOT_MTLS_ENABLED": "0",
    "LOG_LEVEL": "WARNING",
    "PERSIST_STATE": "0",
    "SFTP_ENABLED": "0",
    # Both emulators must put the same account into what they name: this is moto's.
    "MINISTACK_ACCOUNT_ID": "123456789012",
}


def end_with(lifeline):
    """Ends this process when the other end of a socket is closed."""
    lifeline.recv(1)
    os._exit(0)


def serve_moto(listener, ecs):
    import logging

    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.WARNING)

    def create_app(service):
        # Each service is imported when it is first asked; so is this one.
        if ecs and service == "applicationautoscaling":
            accept_services_of(ecs)
        if service == "autoscaling":
            complete_groups()
        if service == "ec2":
            complete_endpoints()
            free_addresses()
        if service == "iam":
            believe_signatures()
        if service == "ecs":
            list_providers()
        if service == "servicediscovery":
            delete_zones()
        return create_backend_app(service)

    host, port = listener.getsockname()
    app = one_by_one(DomainDispatcherApplication(create_app))
    fd = listener.fileno()
    make_server(host, port, app, threaded=True, request_handler=MotoRequestHandler, fd=fd).serve_forever()


def one_by_one(app):
    """Answers one request after the other: moto's stores are shared by its threads, and not all made for it."""
    turn = threading.Lock()

    def answer(environ, start_response):
        with turn:
            return app(environ, start_response)

    return answer


def accept_services_of(ecs):
    """Lets moto's Application Auto Scaling scale the ECS services of another endpoint beside those of its own."""
    import boto3
    from moto.applicationautoscaling.models import ApplicationAutoscalingBackend

    exists_here = ApplicationAutoscalingBackend._ecs_service_exists_for_target

    def exists(self, resource_id):
        _, cluster, service = resource_id.split("/")
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        client = boto3.client("ecs", endpoint_url=ecs, region_name=self.region_name, **keys)
        try:
            if client.describe_services(cluster=cluster, services=[service])["services"]:
                return True
        except client.exceptions.ClusterNotFoundException:
            pass
        return exists_here(self, resource_id)

    ApplicationAutoscalingBackend._ecs_service_exists_for_target = exists


def complete_groups():
    """Lets moto's autoscaling groups keep every setting, measure no more when told so, and be refreshed."""
    import datetime
    import uuid

    from moto.autoscaling.exceptions import AutoscalingClientError, ValidationError
    from moto.autoscaling.responses import AutoScalingResponse
    from moto.core.responses import ActionResult, EmptyResult
    from moto.ec2.models.launch_templates import LaunchTemplateVersion
    from moto.ec2.utils import parse_user_data

    def user_data(self):
        """Of any version: without this, no instance of a later one than the first is started."""
        given = self.data.get("UserData")
        return parse_user_data(given and str(given))

    LaunchTemplateVersion.user_data = property(user_data)

    # What creating or updating leaves out, and the value that takes a setting back.
    settings = {
        "DefaultCooldown": ("default_cooldown", None),
        "DefaultInstanceWarmup": ("default_instance_warmup", -1),
        "MaxInstanceLifetime": ("max_instance_lifetime", 0),
        "TerminationPolicies": ("termination_policies", None),
        "CapacityRebalance": ("capacity_rebalance", None),
    }

    def group_of(response):
        group = response.autoscaling_backend.autoscaling_groups.get(response._get_param("AutoScalingGroupName"))
        if group is None:
            raise ValidationError("AutoScalingGroup name not found - null")
        return group

    def keeping(act):
        def acting(self):
            answer = act(self)
            group, given = group_of(self), self._get_params()
            for name in settings.keys() & given.keys():
                attribute, none = settings[name]
                setattr(group, attribute, None if given[name] == none else given[name])
            return answer

        return acting

    def enable_metrics_collection(self):
        group = group_of(self)
        group.metrics = sorted({*group.metrics, *self._get_param("Metrics", [])})
        return EmptyResult()

    def disable_metrics_collection(self):
        group, given = group_of(self), self._get_param("Metrics", [])
        group.metrics = [metric for metric in group.metrics if given and metric not in given]
        return EmptyResult()

    def start_instance_refresh(self):
        """Replaces all instances by such as the group is set to by now, at once."""
        group = group_of(self)
        refreshes = vars(group).setdefault("refreshes", [])
        now = datetime.datetime.now(datetime.timezone.utc)
        outdated, group.instance_states = group.instance_states, []
        group.set_desired_capacity(group.desired_capacity)
        if outdated:
            group.ec2_backend.terminate_instances([state.instance.id for state in outdated])
        refresh = {
            "InstanceRefreshId": str(uuid.uuid4()),
            "AutoScalingGroupName": group.name,
            "Status": "Successful",
            "StartTime": now,
            "EndTime": now,
            "PercentageComplete": 100,
            "InstancesToUpdate": 0,
            "Preferences": self._get_param("Preferences", {}),
        }
        refreshes.insert(0, refresh)
        return ActionResult({"InstanceRefreshId": refresh["InstanceRefreshId"]})

    def describe_instance_refreshes(self):
        ids = self._get_param("InstanceRefreshIds", [])
        refreshes = getattr(group_of(self), "refreshes", [])
        return ActionResult({"InstanceRefreshes": [r for r in refreshes if not ids or r["InstanceRefreshId"] in ids]})

    def cancel_instance_refresh(self):
        group = group_of(self)
        message = f"No in progress or pending Instance Refresh found for Auto Scaling group {group.name}"
        raise AutoscalingClientError("ActiveInstanceRefreshNotFound", message)

    AutoScalingResponse.create_auto_scaling_group = keeping(AutoScalingResponse.create_auto_scaling_group)
    AutoScalingResponse.update_auto_scaling_group = keeping(AutoScalingResponse.update_auto_scaling_group)
    for action in (
        enable_metrics_collection,
        disable_metrics_collection,
        start_instance_refresh,
        describe_instance_refreshes,
        cancel_instance_refresh,
    ):
        setattr(AutoScalingResponse, action.__name__, action)


def complete_endpoints():
    """Lets a gateway endpoint of moto have its route in each of its tables: one that lacks it is never deleted."""
    from moto.ec2.models.vpcs import VPCEndPoint

    modify = VPCEndPoint.modify

    def modify_with_routes(self, *changes):
        before = set(self.route_table_ids)
        modify(self, *changes)
        after, prefixes = set(self.route_table_ids), self.destination_prefix_list_id
        for table in after - before if prefixes else ():
            self.ec2_backend.create_route(table, None, gateway_id=self.id, destination_prefix_list_id=prefixes)
        for table in before - after if prefixes else ():
            self.ec2_backend.delete_route(table, prefixes)

    VPCEndPoint.modify = modify_with_routes


def believe_signatures():
    """Lets moto, where it is told to ask who may do what, believe who asks: it signs some bodies differently from SDKs."""
    from moto.iam.access_control import IAMRequestBase

    IAMRequestBase.check_signature = lambda self: None


def free_addresses():
    """Lets a NAT gateway of moto give its elastic IP and its interface back when it is deleted, for the next one to take."""
    from moto.ec2.models.nat_gateways import NatGatewayBackend

    delete = NatGatewayBackend.delete_nat_gateway

    def delete_and_free(self, nat_gateway_id):
        gateway = delete(self, nat_gateway_id)
        for address in self.addresses:
            if address.eni is gateway._eni:
                address.eni = address.association_id = None
        self.enis.pop(gateway._eni.id, None)
        return gateway

    NatGatewayBackend.delete_nat_gateway = delete_and_free


def list_providers():
    """Lets moto's ECS list every capacity provider where none is named."""
    from moto.ecs.models import EC2ContainerServiceBackend

    describe = EC2ContainerServiceBackend.describe_capacity_providers

    def describe_these_or_all(self, names):
        return describe(self, list(self.capacity_providers) if names is None else names)

    EC2ContainerServiceBackend.describe_capacity_providers = describe_these_or_all


def delete_zones():
    """Lets the zone of one of moto's namespaces go with it."""
    from moto.route53 import route53_backends
    from moto.servicediscovery.models import ServiceDiscoveryBackend
    from moto.utilities.utils import get_partition

    delete = ServiceDiscoveryBackend.delete_namespace

    def delete_with_zone(self, namespace_id):
        zone = self.get_namespace(namespace_id).dns_properties.get("HostedZoneId")
        operation = delete(self, namespace_id)
        if zone:
            zones = route53_backends[self.account_id][get_partition(self.region_name)].zones
            zones.pop(zone.removeprefix("/hostedzone/"), None)
        return operation

    ServiceDiscoveryBackend.delete_namespace = delete_with_zone


def keep_settings():
    """Lets the services of ministack's ECS keep what it leaves out: placement, rebalancing, registries, whose tags tasks
    get, and Service Connect, which is a deployment's."""
    import json

    from ministack.services import ecs

    settings = (
        "availabilityZoneRebalancing",
        "enableECSManagedTags",
        "placementConstraints",
        "placementStrategy",
        "propagateTags",
        "serviceRegistries",
    )
    connect = "serviceConnectConfiguration"

    def keeping(act):
        def acting(data):
            status, headers, body = act(data)
            told = json.loads(body).get("service", {})
            service = next((s for s in ecs._services.values() if s["serviceArn"] == told.get("serviceArn")), None)
            if status != 200 or service is None:
                return status, headers, body
            service.update({name: data[name] for name in settings if name in data})
            primary, *older = service["deployments"]
            if connect in data:
                primary[connect] = data[connect]
            elif older and connect in older[0]:
                primary.setdefault(connect, older[0][connect])
            return ecs.json_response({"service": ecs._sanitize(service)})

        return acting

    for action in ("CreateService", "UpdateService"):
        ecs._ACTION_MAP[action] = keeping(ecs._ACTION_MAP[action])


def serve_ministack(listener):
    import asyncio

    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from ministack.app import app

    keep_settings()
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.keep_alive_timeout = 75
    config.loglevel = "WARNING"

    async def forever():
        # A trigger of its own keeps the server from catching SIGTERM: there is nothing to save.
        await serve(app, config, shutdown_trigger=asyncio.Event().wait)

    asyncio.run(forever())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("emulator", choices=["moto", "ministack"])
    parser.add_argument("--start", help="names this start, to tell the process from others")
    parser.add_argument("--ecs", help="the endpoint of the ECS whose services can be scaled")
    parser.add_argument("--attached", action="store_true")
    args = parser.parse_args()

    listener = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    if args.attached:
        lifeline = socket.socket(fileno=os.dup(1))
        os.dup2(2, 1)
        threading.Thread(target=end_with, args=(lifeline,), daemon=True).start()
    else:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    port = str(listener.getsockname()[1])
    # Neither the user's configuration nor instance metadata may lead an SDK in here to a real account.
    os.environ.update(AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull)
    os.environ.update(AWS_EC2_METADATA_DISABLED="true")
    if args.emulator == "moto":
        os.environ.update(MOTO, MOTO_PORT=port)
        serve_moto(listener, args.ecs)
    else:
        os.environ.update(MINISTACK, GATEWAY_PORT=port)
        serve_ministack(listener)


if __name__ == "__main__":
    sys.exit(main())
