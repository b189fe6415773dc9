#include "engine/http/builder.h"
#include "engine/http/request.h"
#include "modules/http/grpc_status.h"
#include "modules/http/modules.h"

// Errors made here, for gRPC clients: instead of a page they get an answer of their protocol, one
// head with a status and no body ("Trailers-Only").
namespace weir::http::grpc {
namespace {

void filter_head(Request& request) {
  Response& response = request.response();
  if (!response.built_in_page || response.status < 300 || !request.is_main()) return;
  const Header* type = request.headers().find(HeaderId::content_type);
  const Kind kind = type ? kind_of(type->value) : Kind::none;
  // Clients of gRPC follow no redirect; a browser does, before gRPC-Web sees the answer.
  if (kind == Kind::none || (kind != Kind::grpc && response.status < 400)) return;
  Arena& arena = request.arena();
  const int status = response.status;
  response.status = 200;
  response.reason = {};
  response.content_type = kind == Kind::grpc ? std::string_view("application/grpc") : type->value;
  response.headers.add(arena,
                       Header{"grpc-status", number_text(status_of_http(status)), HeaderId::other});
  response.headers.add(
      arena, Header{"grpc-message", encode_message(arena, reason_phrase(status)), HeaderId::other});
  // HTTP/1 has to be told that nothing follows.
  response.content_length = request.received().version < Version::http_2 ? 0 : -1;
  response.header_only = true;
}

void complete(conf::Compiler& compiler, conf::Scope&) {
  builder(compiler).add_head_filter(filter_head);
}

}  // namespace
}  // namespace weir::http::grpc

namespace weir::http {

const conf::Module kGrpcErrorsModule = {
    .name = "weir_http_grpc_errors_module",
    .complete = grpc::complete,
    .root = conf::kHttp,
};

}  // namespace weir::http
