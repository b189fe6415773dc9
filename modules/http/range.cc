#include "modules/http/range.h"

#include <cstdio>

#include "engine/http/builder.h"
#include "engine/http/core_settings.h"
#include "engine/http/date.h"
#include "engine/http/request.h"
#include "modules/http/modules.h"

// ngx_http_range_filter_module: byte ranges (RFC 9110, section 14).
namespace weir::http {

namespace {

// A number without a sign; false at overflow or when there is none.
bool read_number(std::string_view& text, int64_t& number) {
  size_t digits = 0;
  number = 0;
  while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') {
    if (number > (INT64_MAX - 9) / 10) return false;
    number = number * 10 + (text[digits] - '0');
    ++digits;
  }
  text.remove_prefix(digits);
  return digits > 0;
}

void skip_spaces(std::string_view& text) {
  while (!text.empty() && text[0] == ' ') text.remove_prefix(1);
}

// One "a-b", "a-" or "-n". False: the whole field is malformed.
bool read_range(std::string_view& text, int64_t length, std::vector<Range>& ranges,
                bool& nothing_to_cut) {
  skip_spaces(text);
  int64_t begin = 0;
  int64_t end = 0;
  if (!text.empty() && text[0] == '-') {
    text.remove_prefix(1);
    int64_t count = 0;
    if (!read_number(text, count)) return false;
    begin = count < length ? length - count : 0;
    end = length;
    if (count == 0) begin = end;
  } else {
    if (!read_number(text, begin)) return false;
    skip_spaces(text);
    if (text.empty() || text[0] != '-') return false;
    text.remove_prefix(1);
    skip_spaces(text);
    if (text.empty() || text[0] == ',') {
      end = length;
    } else {
      if (!read_number(text, end)) return false;
      end = end >= length ? length : end + 1;
    }
  }
  skip_spaces(text);
  if (!text.empty() && text[0] != ',') return false;
  if (begin < end) {
    ranges.push_back({begin, end});
  } else if (begin == 0) {
    nothing_to_cut = true;  // an empty body has no ranges
  }
  return true;
}

}  // namespace

ParsedRanges parse_ranges(std::string_view field, int64_t length, int64_t most, bool single,
                          std::vector<Range>& ranges) {
  std::string_view text = field.substr(6);  // "bytes="
  int64_t total = 0;
  for (;;) {
    const size_t before = ranges.size();
    bool nothing_to_cut = false;
    if (!read_range(text, length, ranges, nothing_to_cut)) return ParsedRanges::unsatisfiable;
    if (nothing_to_cut) return ParsedRanges::ignore;
    if (ranges.size() > before) {
      total += ranges.back().end - ranges.back().begin;
      if (static_cast<int64_t>(ranges.size()) > most) return ParsedRanges::ignore;
    }
    if (text.empty()) break;
    text.remove_prefix(1);
  }
  if (ranges.empty()) return ParsedRanges::unsatisfiable;
  if (total > length || (single && ranges.size() > 1)) return ParsedRanges::ignore;
  return ParsedRanges::ranges;
}

namespace {

// If-Range holds our entity tag or our date?
bool condition_holds(Request& request) {
  const Header* field = request.headers().find(HeaderId::if_range);
  if (!field) return true;
  const Response& response = request.response();
  if (field->value.size() >= 2 && field->value.back() == '"') return field->value == response.etag;
  return response.last_modified >= 0 &&
         parse_date(field->value).value_or(-1) == response.last_modified;
}

std::string_view content_range(Request& request, const Range& range, int64_t length) {
  char text[96];
  const int size =
      std::snprintf(text, sizeof text, "bytes %lld-%lld/%lld", static_cast<long long>(range.begin),
                    static_cast<long long>(range.end - 1), static_cast<long long>(length));
  return request.arena().copy({text, static_cast<size_t>(size)});
}

// Passes the bytes of one range.
class SingleRangeFilter final : public BodyFilter {
 public:
  explicit SingleRangeFilter(Range range) : range_(range) {}
  void on_data(Request& request, Chain&& data, bool last, bool flush) override {
    Chain out;
    while (!data.empty()) {
      Slice slice = data.take_front();
      const int64_t begin = offset_;
      offset_ += static_cast<int64_t>(slice.size());
      const int64_t from = std::max(begin, range_.begin);
      const int64_t to = std::min(offset_, range_.end);
      if (from < to)
        out.push(slice.sub(static_cast<size_t>(from - begin), static_cast<size_t>(to - from)));
    }
    forward(request, std::move(out), last, flush);
  }

 private:
  Range range_;
  int64_t offset_ = 0;
};

// Holds the slices of the whole body (of a file: a reference to it) and sends the parts at its end.
class MultipleRangeFilter final : public BodyFilter {
 public:
  MultipleRangeFilter(std::vector<Range> ranges, std::vector<std::string_view> heads,
                      std::string_view end)
      : ranges_(std::move(ranges)), heads_(std::move(heads)), end_(end) {}
  void on_data(Request& request, Chain&& data, bool last, bool flush) override {
    body_.append(std::move(data));
    if (!last) return forward(request, {}, false, flush);
    Chain out;
    for (size_t i = 0; i < ranges_.size(); ++i) {
      out.push(Slice::borrowed(heads_[i]));
      add_part(out, ranges_[i]);
    }
    out.push(Slice::borrowed(end_));
    body_.clear();
    forward(request, std::move(out), true, flush);
  }

 private:
  void add_part(Chain& out, const Range& range) const {
    int64_t offset = 0;
    for (size_t i = 0; i < body_.count(); ++i) {
      const Slice& slice = body_[i];
      const int64_t after = offset + static_cast<int64_t>(slice.size());
      const int64_t from = std::max(offset, range.begin);
      const int64_t to = std::min(after, range.end);
      if (from < to)
        out.push(slice.sub(static_cast<size_t>(from - offset), static_cast<size_t>(to - from)));
      offset = after;
    }
  }

  Chain body_;
  std::vector<Range> ranges_;
  std::vector<std::string_view> heads_;
  std::string_view end_;
};

void send_one(Request& request, const Range& range) {
  Response& response = request.response();
  const int64_t length = response.content_length;
  response.headers.add(request.arena(), {"Content-Range", content_range(request, range, length),
                                         HeaderId::content_range});
  response.content_length = range.end - range.begin;
  request.add_body_filter(request.arena().make<SingleRangeFilter>(range));
}

void send_several(Request& request, std::vector<Range> ranges) {
  static uint64_t counter = 0;
  Response& response = request.response();
  const int64_t length = response.content_length;
  char boundary[32];
  std::snprintf(boundary, sizeof boundary, "%020llu", static_cast<unsigned long long>(++counter));
  Arena& arena = request.arena();
  std::vector<std::string_view> heads;
  int64_t total = 0;
  for (const Range& range : ranges) {
    ArenaText head(arena, 160);
    head.append("\r\n--");
    head.append(boundary);
    if (!response.content_type.empty()) {
      head.append("\r\nContent-Type: ");
      head.append(response.content_type);
    }
    head.append("\r\nContent-Range: ");
    head.append(content_range(request, range, length));
    head.append("\r\n\r\n");
    heads.push_back(head.view());
    total += static_cast<int64_t>(head.size()) + range.end - range.begin;
  }
  const std::string_view end = arena.copy("\r\n--" + std::string(boundary) + "--\r\n");
  response.content_type = arena.copy("multipart/byteranges; boundary=" + std::string(boundary));
  response.content_length = total + static_cast<int64_t>(end.size());
  request.add_body_filter(
      arena.make<MultipleRangeFilter>(std::move(ranges), std::move(heads), end));
}

void announce(Request& request) {
  request.response().headers.add(request.arena(),
                                 {"Accept-Ranges", "bytes", HeaderId::accept_ranges});
}

void filter_head(Request& request) {
  Response& response = request.response();
  if (response.status != 200 || !request.is_main() || response.content_length < 0 ||
      !response.allow_ranges || request.received().version < Version::http_1_0) {
    return;
  }
  const auto& settings = request.settings<CoreSettings>();
  const int64_t most = settings.max_ranges ? settings.max_ranges->value : INT64_MAX;
  if (most == 0) return;
  const Header* field = request.headers().find(HeaderId::range);
  const bool bytes = field && field->value.size() >= 7 &&
                     conf::equal_without_case(field->value.substr(0, 6), "bytes=");
  if (!bytes || !condition_holds(request)) return announce(request);

  std::vector<Range> ranges;
  switch (
      parse_ranges(field->value, response.content_length, most, response.single_range, ranges)) {
    case ParsedRanges::ignore:
      return announce(request);
    case ParsedRanges::unsatisfiable: {
      char text[48];
      const int size = std::snprintf(text, sizeof text, "bytes */%lld",
                                     static_cast<long long>(response.content_length));
      const std::string_view value = request.arena().copy({text, static_cast<size_t>(size)});
      request.replace_response(416);
      request.response().headers.add(request.arena(),
                                     {"Content-Range", value, HeaderId::content_range});
      return;
    }
    case ParsedRanges::ranges:
      break;
  }
  response.status = 206;
  response.reason = {};
  if (ranges.size() == 1) return send_one(request, ranges[0]);
  send_several(request, std::move(ranges));
}

void complete(conf::Compiler& compiler, conf::Scope&) {
  builder(compiler).add_head_filter(filter_head);
}

}  // namespace

const conf::Module kRangeModule{.name = "ngx_http_range_filter_module", .complete = complete};

}  // namespace weir::http
