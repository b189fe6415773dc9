#include "modules/http/grpc_web.h"

#include <string>

#include "confparse/setters.h"
#include "confparse/value.h"
#include "modules/http/base64_body.h"
#include "modules/http/modules.h"

namespace weir::http::grpc {
namespace {

struct WebSettings {
  bool enabled = false;
};

struct WebContext {
  Kind request = Kind::none;
  Kind response = Kind::none;
  std::string_view format;  // "+proto"
};

// The response may be in the other form than the request, when Accept asks for it.
Kind wanted_form(const Request& request, Kind sent) {
  const Header* accept = request.headers().find(HeaderId::accept);
  if (!accept) return sent;
  const Kind asked = kind_of(accept->value);
  return asked == Kind::web || asked == Kind::web_text ? asked : sent;
}

std::string_view joined(Arena& arena, std::string_view first, std::string_view second) {
  ArenaText text(arena, first.size() + second.size());
  text.append(first);
  text.append(second);
  return text.view();
}

// The trailers as the last frame of a body: flag 0x80, four bytes of length, field lines.
std::string trailer_frame(const HeaderList& trailers) {
  std::string lines;
  for (const Header& field : trailers) {
    for (const char character : field.name) lines += conf::lower_case({&character, 1});
    lines += ": ";
    lines += field.value;
    lines += "\r\n";
  }
  const auto size = static_cast<uint32_t>(lines.size());
  std::string frame;
  frame += static_cast<char>(0x80);
  for (int shift = 24; shift >= 0; shift -= 8) frame += static_cast<char>(size >> shift);
  return frame + lines;
}

class WebFilter final : public BodyFilter {
 public:
  explicit WebFilter(bool text) : text_(text) {}
  bool needs_bytes() const override { return text_; }
  void on_data(Request& request, Chain&& data, bool last, bool flush) override {
    Chain out = std::move(data);
    HeaderList& trailers = request.response().trailers;
    if (last && !trailers.empty()) {
      out.push(Slice::borrowed(request.arena().copy(trailer_frame(trailers))));
      trailers.clear();
    }
    if (text_) out = encode_base64(std::move(out));
    forward(request, std::move(out), last, flush);
  }

 private:
  const bool text_;
};

constexpr conf::Directive kDirectives[] = {
    {.name = "grpc_web",
     .where = conf::kHttpServerLocation,
     .args = {1, 1},
     .form = conf::Form::flag,
     .initial = "off",
     .set = conf::into<&WebSettings::enabled>,
     .doc = "Takes gRPC-Web calls for grpc_pass: application/grpc-web and -text."},
};

}  // namespace

void begin_web_request(Request& request) {
  if (!request.settings<WebSettings>().enabled || request.peek<WebContext>()) return;
  const Header* type = request.headers().find(HeaderId::content_type);
  const Kind kind = type ? kind_of(type->value) : Kind::none;
  if (kind != Kind::web && kind != Kind::web_text) return;
  auto& context = request.context<WebContext>();
  context.request = kind;
  context.response = wanted_form(request, kind);
  context.format = message_format(type->value);
  if (kind == Kind::web_text) {
    request.replace_body(*request.arena().make<Base64Body>(request.body()));
  }
}

Kind web_kind(Request& request) {
  const auto* context = request.peek<WebContext>();
  return context ? context->request : Kind::none;
}

std::string_view plain_content_type(Request& request) {
  return joined(request.arena(), "application/grpc", request.context<WebContext>().format);
}

void begin_web_response(Request& request) {
  const auto* context = request.peek<WebContext>();
  if (!context) return;
  Response& response = request.response();
  // Something else than a gRPC answer passes as it is.
  if (kind_of(response.content_type) != Kind::grpc) return;
  const bool text = context->response == Kind::web_text;
  response.content_type =
      joined(request.arena(), text ? "application/grpc-web-text" : "application/grpc-web",
             message_format(response.content_type));
  if (response.header_only) return;
  response.content_length = -1;
  response.expect_trailers = false;
  request.add_body_filter(request.arena().make<WebFilter>(text));
}

}  // namespace weir::http::grpc

namespace weir::http {

const conf::Module kGrpcWebModule = {
    .name = "weir_http_grpc_web_module",
    .directives = grpc::kDirectives,
    .root = conf::kHttp,
};

}  // namespace weir::http
