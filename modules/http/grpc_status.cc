#include "modules/http/grpc_status.h"

#include "confparse/value.h"

namespace weir::http::grpc {
namespace {

constexpr std::string_view kNumbers[] = {"0", "1",  "2",  "3",  "4",  "5",  "6",  "7", "8",
                                         "9", "10", "11", "12", "13", "14", "15", "16"};
constexpr std::string_view kType = "application/grpc";
constexpr std::string_view kWebType = "application/grpc-web";
constexpr std::string_view kWebTextType = "application/grpc-web-text";

// Is `text` this type, alone or with a format or parameters behind it?
bool is_type(std::string_view text, std::string_view type) {
  if (text.size() < type.size() || !conf::equal_without_case(text.substr(0, type.size()), type)) {
    return false;
  }
  if (text.size() == type.size()) return true;
  const char next = text[type.size()];
  return next == '+' || next == ';' || next == ' ';
}

}  // namespace

Status status_of_http(int http_status) {
  switch (http_status) {
    case 400:
      return Status::internal;
    case 401:
      return Status::unauthenticated;
    case 403:
      return Status::permission_denied;
    case 404:
      return Status::unimplemented;
    case 429:
    case 502:
    case 503:
    case 504:
      return Status::unavailable;
    default:
      return Status::unknown;
  }
}

std::string_view number_text(Status status) {
  return kNumbers[static_cast<size_t>(status)];
}

std::optional<Status> parse_status(std::string_view text) {
  for (size_t i = 0; i < std::size(kNumbers); ++i) {
    if (kNumbers[i] == text) return static_cast<Status>(i);
  }
  return std::nullopt;
}

Kind kind_of(std::string_view content_type) {
  if (is_type(content_type, kType)) return Kind::grpc;
  if (is_type(content_type, kWebType)) return Kind::web;
  if (is_type(content_type, kWebTextType)) return Kind::web_text;
  return Kind::none;
}

std::string_view message_format(std::string_view content_type) {
  const size_t plus = content_type.find('+');
  if (plus == std::string_view::npos) return {};
  const std::string_view format = content_type.substr(plus);
  return format.substr(0, format.find_first_of("; "));
}

std::string_view encode_message(Arena& arena, std::string_view text) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  ArenaText out(arena, text.size() + 16);
  for (const char character : text) {
    const auto byte = static_cast<unsigned char>(character);
    if (byte >= 0x20 && byte < 0x7f && byte != '%') {
      out.push_back(character);
      continue;
    }
    out.push_back('%');
    out.push_back(kDigits[byte >> 4]);
    out.push_back(kDigits[byte & 15]);
  }
  return out.view();
}

}  // namespace weir::http::grpc
