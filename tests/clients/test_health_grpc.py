#!/usr/bin/python3
"""Active health checks of gRPC servers."""

import unittest

from grpc_support import GrpcBackend, GrpcTestCase
from harness import beyond_nginx, wait_until
from health_support import HealthCase


class HealthyGrpc(GrpcBackend):
    def __init__(self, name):
        self.status = b"\x08\x01"
        self.asked = []
        super().__init__(name)

    def service(self, details):
        handler = super().service(details)
        return handler if self.status is not None else None  # UNIMPLEMENTED

    def check(self, request, context):
        self.asked.append(request)
        return self.status


@beyond_nginx
class Grpc(GrpcTestCase, HealthCase):
    def start_grpc(self, parameters=""):
        self.first, self.second = HealthyGrpc("first"), HealthyGrpc("second")
        self.addCleanup(self.first.stop)
        self.addCleanup(self.second.stop)
        conf = self.conf(f"interval=100ms mandatory type=grpc {parameters}")
        conf = conf.replace("proxy_pass http://app", "grpc_pass app").replace(
            "listen 127.0.0.1:8080;", "listen 127.0.0.1:8080; http2 on;")
        return self.service(conf, {9001: self.first, 9002: self.second})

    def wait_ill(self, weir, backend, count=1):
        self.wait_log(weir, r"peer is unhealthy while checking gRPC status, health check \"\" of peer "
                            rf"127\.0\.0\.1:{backend.port}", count)

    def test_serving_status(self):
        weir = self.start_grpc("grpc_service=weir.Test")
        self.wait_log(weir, "peer is healthy while checking gRPC status", 2)
        self.assertEqual(self.first.asked[0], b"\x0a\x09weir.Test")
        self.second.status = b"\x08\x02"
        self.wait_ill(weir, self.second)
        self.assertIn("unexpected gRPC serving status 2 while", weir.errors())
        self.first.status = None
        self.wait_ill(weir, self.first)
        self.wait_log(weir, "unexpected gRPC status 12 while")
        self.second.status = b"\x08\x01"
        self.wait_log(weir, "peer is healthy while checking gRPC status", 3)

    def test_unimplemented_may_be_healthy(self):
        weir = self.start_grpc("grpc_status=12")
        self.wait_log(weir, "peer is healthy", 2)
        self.first.status = None
        calls = len(self.first.calls)
        wait_until(lambda: len(self.first.calls) > calls + 2, "more checks")
        self.assertNotIn("unhealthy", weir.errors())
        self.first.status = b""
        self.wait_ill(weir, self.first)


if __name__ == "__main__":
    unittest.main()
