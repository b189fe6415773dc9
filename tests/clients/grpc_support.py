"""A gRPC backend with generic handlers (messages are bytes), and clients of it."""

import concurrent.futures
import threading

import grpc

import harness

SERVICE = "/weir.Test/"
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1),
             ("grpc.enable_retries", 0)]
PATIENCE = harness.PATIENCE


class GrpcBackend:
    """All four kinds of calls. What was asked is kept: metadata of each call, cancellations."""

    def __init__(self, name="backend", workers=32, credentials=None, address="127.0.0.1:0"):
        self.name = name
        self.calls = []
        self.cancelled = threading.Event()
        self.slow_began = threading.Event()
        self.release = threading.Event()
        self.together = threading.Barrier(1)
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(workers), options=UNLIMITED)
        self.server.add_generic_rpc_handlers([self])
        if credentials:
            self.port = self.server.add_secure_port(address, credentials)
        else:
            self.port = self.server.add_insecure_port(address)
        self.server.start()

    def stop(self):
        self.release.set()
        self.server.stop(None).wait()

    # grpc.GenericRpcHandler
    def service(self, details):
        self.calls.append((details.method, list(details.invocation_metadata)))
        handler = getattr(self, details.method.rpartition("/")[2].lower(), None)
        if not handler:
            return None
        make = {"clientstream": grpc.stream_unary_rpc_method_handler,
                "serverstream": grpc.unary_stream_rpc_method_handler,
                "bidi": grpc.stream_stream_rpc_method_handler,
                "forever": grpc.stream_stream_rpc_method_handler}
        return make.get(details.method.rpartition("/")[2].lower(),
                        grpc.unary_unary_rpc_method_handler)(handler)

    def service_name(self):
        return None

    def unary(self, request, context):
        return request

    def who(self, request, context):
        return self.name.encode()

    def clientstream(self, requests, context):
        return b"%d" % sum(len(request) for request in requests)

    def serverstream(self, request, context):
        count, size = (int(word) for word in request.split())
        for number in range(count):
            yield bytes([number % 256]) * size

    def bidi(self, requests, context):
        yield from requests

    def forever(self, requests, context):
        """Says one thing and then nothing until the call ends."""
        context.add_callback(self.cancelled.set)
        yield b"begun"
        self.release.wait(PATIENCE)

    def slow(self, request, context):
        context.add_callback(self.cancelled.set)
        self.time_remaining = context.time_remaining()
        self.slow_began.set()
        self.release.wait(PATIENCE)
        return b"late"

    def meet(self, request, context):
        """Returns when as many calls are under way as the barrier wants."""
        self.together.wait(PATIENCE)
        return request

    def fail(self, request, context):
        context.set_trailing_metadata((("why", "asked"), ("detail-bin", b"\x00\xff")))
        context.abort(grpc.StatusCode(*[code.value for code in grpc.StatusCode
                                        if code.value[0] == int(request)]), "as asked: 100%")

    def metadata(self, request, context):
        context.send_initial_metadata((("first", "1"), ("first-bin", b"\x01\x02\xff")))
        context.set_trailing_metadata((("last", "2"), ("last-bin", b"\x00\xfe")))
        return b"ok"


class GrpcClient:
    """One channel: one connection."""

    def __init__(self, port, credentials=None, authority=None):
        options = UNLIMITED + [("grpc.use_local_subchannel_pool", 1)]
        if authority:
            options += [("grpc.default_authority", authority),
                        ("grpc.ssl_target_name_override", authority)]
        target = f"127.0.0.1:{port}"
        if credentials:
            self.channel = grpc.secure_channel(target, credentials, options)
        else:
            self.channel = grpc.insecure_channel(target, options)

    def unary(self, method, request=b"", **more):
        more.setdefault("timeout", PATIENCE)
        return self.channel.unary_unary(SERVICE + method)(request, **more)

    def start(self, method, request=b"", **more):
        more.setdefault("timeout", PATIENCE)
        return self.channel.unary_unary(SERVICE + method).future(request, **more)

    def with_call(self, method, request=b"", **more):
        return self.channel.unary_unary(SERVICE + method).with_call(request, timeout=PATIENCE, **more)

    def client_stream(self, requests, **more):
        more.setdefault("timeout", PATIENCE)
        return self.channel.stream_unary(SERVICE + "ClientStream")(iter(requests), **more)

    def server_stream(self, count, size, **more):
        more.setdefault("timeout", PATIENCE)
        return self.channel.unary_stream(SERVICE + "ServerStream")(b"%d %d" % (count, size), **more)

    def bidi(self, requests, method="Bidi", **more):
        more.setdefault("timeout", PATIENCE)
        return self.channel.stream_stream(SERVICE + method)(requests, **more)

    def close(self):
        self.channel.close()


class Feed:
    """The requests of a stream, given one by one."""

    def __init__(self):
        import queue
        self._queue = queue.Queue()

    def send(self, message):
        self._queue.put(message)

    def end(self):
        self._queue.put(None)

    def __iter__(self):
        return iter(self._queue.get, None)


class GrpcTestCase(harness.TestCase):
    def grpc_backend(self, *arguments, **more):
        backend = GrpcBackend(*arguments, **more)
        self.addCleanup(backend.stop)
        return backend

    def client(self, port, *arguments, **more):
        client = GrpcClient(port, *arguments, **more)
        self.addCleanup(client.close)
        return client

    def assert_status(self, code, call):
        """`call` fails with this status; returns the error."""
        with self.assertRaises(grpc.RpcError) as caught:
            call()
        self.assertEqual(caught.exception.code(), code, caught.exception.details())
        return caught.exception
