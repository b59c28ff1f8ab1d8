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
        return create_backend_app(service)

    host, port = listener.getsockname()
    app = DomainDispatcherApplication(create_app)
    fd = listener.fileno()
    make_server(host, port, app, threaded=True, request_handler=MotoRequestHandler, fd=fd).serve_forever()


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


def serve_ministack(listener):
    import asyncio

    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from ministack.app import app

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
