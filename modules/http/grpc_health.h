#pragma once

#include <string>
#include <string_view>

// The two messages of grpc.health.v1.Health/Check, framed as gRPC frames them (a byte, 0 for not
// compressed, and four of length, the first the highest).
namespace weir::http {

// HealthCheckRequest; an empty service asks about the whole server.
std::string grpc_health_request(std::string_view service);

// The status of a HealthCheckResponse: 1 is SERVING; 0 where none is given, as protocol buffers
// have it. -1: the body is no whole, uncompressed message, or the number is out of range. The body
// comes from the peer; nothing of it is trusted.
int grpc_serving_status(std::string_view body);

}  // namespace weir::http
